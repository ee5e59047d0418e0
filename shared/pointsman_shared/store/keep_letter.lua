-- luacheck: globals bury
-- Keep a dead letter of something that has no outcome: it could not be read.
local letter, index = unpack(KEYS)
local id, payload, what = unpack(ARGV)

bury(letter, index, id, cjson.decode(what))
redis.call('HSET', letter, 'payload', payload)
