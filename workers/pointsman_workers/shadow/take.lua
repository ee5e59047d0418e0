-- Take the messages that have waited longest to be shadowed, at least one if there is any. Returns for each its id, its
-- fields, and its outcome. The holder keeps them until a time; then others may take them.
local waiting, bytes, stats, unacked, interactive, bulk = unpack(KEYS)
local now, hold_until, holder, most_texts, most_messages, kept_prefix, result_prefix, dropped, yields, alone = unpack(ARGV)

if yields == '1' then
  if redis.call('LLEN', interactive) > 0 or redis.call('LLEN', bulk) > 0 then return {} end
  if alone == '1' and redis.call('HLEN', unacked) > 0 then return {} end
end
local found, texts = {}, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, most_messages)) do
  local kept = kept_prefix .. id
  local count = tonumber(redis.call('HGET', kept, 'texts'))
  if not count then
    redis.call('ZREM', waiting, id)
    redis.call('HINCRBY', stats, dropped, 1)
    if redis.call('EXISTS', waiting) == 0 then redis.call('DEL', bytes) end
  else
    if texts > 0 and texts + count > tonumber(most_texts) then break end
    texts = texts + count
    redis.call('HSET', kept, 'holder', holder)
    redis.call('HINCRBY', kept, 'tries', 1)
    -- A worker that has to take them again finds them in the same order.
    redis.call('ZADD', waiting, tonumber(hold_until) + #found / 1000, id)
    table.insert(found, {id, redis.call('HGETALL', kept), redis.call('GET', result_prefix .. id)})
  end
end
return found
