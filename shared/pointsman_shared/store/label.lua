-- Store the label of a job; a correction keeps its place in the order. Labels past their time go.
local labels, times, count = unpack(KEYS)
local job, row, at, retention = unpack(ARGV)

local old = redis.call('ZRANGEBYSCORE', times, '-inf', at - retention, 'LIMIT', 0, 1000)
if #old > 0 then
  redis.call('HDEL', labels, unpack(old))
  redis.call('ZREM', times, unpack(old))
end
local label = cjson.decode(row)
local before = redis.call('HGET', labels, job)
label.at, label.place = tonumber(at), before and cjson.decode(before).place or redis.call('INCR', count)
redis.call('HSET', labels, job, cjson.encode(label))
redis.call('ZADD', times, at, job)
for _, key in ipairs({labels, times, count}) do redis.call('EXPIRE', key, retention) end
