-- luacheck: globals id_of
-- Return the ids of the messages that were taken from a queue and are not acknowledged.
local unacked = unpack(KEYS)

local ids = redis.call('HVALS', unacked)
for place = 1, #ids do ids[place] = id_of(ids[place]) end
return ids
