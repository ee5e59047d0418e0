-- Count the comparison of some messages and let the messages go, in one step, if the holder still has them all.
-- what: {holder, kept = prefix, messages = [id], pairs_key, retention, now, most_fields, sizes = [count, count],
--   pairs = [{name, counts, rows, samples = [key, key], drawn, fields = {name = count}, sampled = [[kind, score, job, row]]}]}
local waiting, bytes = unpack(KEYS)
local request = unpack(ARGV)

local what = cjson.decode(request)
for _, id in ipairs(what.messages) do
  if redis.call('HGET', what.kept .. id, 'holder') ~= what.holder then return 0 end
end
for _, id in ipairs(what.messages) do
  local kept = what.kept .. id
  local size = tonumber(redis.call('HGET', kept, 'bytes') or 0)
  redis.call('DEL', kept)
  redis.call('ZREM', waiting, id)
  if redis.call('EXISTS', waiting) == 0 then redis.call('DEL', bytes) else redis.call('DECRBY', bytes, size) end
end

local function count(pair)
  local room = what.most_fields - redis.call('HLEN', pair.counts)
  for field, texts in pairs(pair.fields) do
    local is_attribute = string.find(field, '"attribute"', 1, true)
    if not is_attribute or room > 0 or redis.call('HEXISTS', pair.counts, field) == 1 then
      redis.call('HINCRBY', pair.counts, field, texts)
    end
  end
end

local function sample(pair)
  for _, drawn in ipairs(pair.sampled) do
    local kind, score, job, row = unpack(drawn)
    redis.call('ZADD', pair.samples[kind], score, job)
    redis.call('HSETNX', pair.rows, job, row)
  end
  for kind, size in ipairs(what.sizes) do
    while redis.call('ZCARD', pair.samples[kind]) > size do
      local job = redis.call('ZPOPMAX', pair.samples[kind])[1]
      if redis.call('SISMEMBER', pair.drawn, job) == 0 then redis.call('HDEL', pair.rows, job) end
    end
  end
end

for _, pair in ipairs(what.pairs) do
  redis.call('HSET', what.pairs_key, pair.name, what.now)
  count(pair)
  sample(pair)
  for _, key in ipairs({pair.counts, pair.rows, pair.samples[1], pair.samples[2], pair.drawn}) do
    redis.call('EXPIRE', key, what.retention)
  end
end
redis.call('EXPIRE', what.pairs_key, what.retention)
return 1
