-- luacheck: globals id_of
-- Return the ids of the messages in a part of a queue; the messages stay in Redis.
local queue = unpack(KEYS)
local first, last = unpack(ARGV)

local ids = redis.call('LRANGE', queue, first, last)
for place = 1, #ids do ids[place] = id_of(ids[place]) end
return ids
