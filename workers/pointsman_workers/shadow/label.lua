-- Store the label of a job; a correction keeps its place in the order.
local labels, count = unpack(KEYS)
local job, row = unpack(ARGV)

local label = cjson.decode(row)
local before = redis.call('HGET', labels, job)
label.place = before and cjson.decode(before).place or redis.call('INCR', count)
redis.call('HSET', labels, job, cjson.encode(label))
