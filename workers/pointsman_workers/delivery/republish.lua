-- Put a lost or a deferred message back on its queue, unless it has an outcome by now.
local index, entry, guard, queue, stats, deferred = unpack(KEYS)
local id, now, message, is_deferred = unpack(ARGV)

-- The first write removes something: a full Redis refuses a script that adds first.
local was_deferred = redis.call('ZREM', deferred, id) == 1
if is_deferred == '1' and not was_deferred then return 0 end
redis.call('ZREM', index, id)
if redis.call('EXISTS', guard) == 1 or redis.call('HEXISTS', entry, 'message') == 0 then
  redis.call('DEL', entry)
  return 0
end
redis.call('ZADD', index, now, id)
redis.call('HDEL', entry, 'alive_at')
if is_deferred == '0' then redis.call('HINCRBY', stats, 'republished', 1) end
redis.call('RPUSH', queue, message)
return 1
