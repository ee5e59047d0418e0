-- luacheck: globals id_of
-- Return the length of a queue, and when its next message was submitted, from the ledger: the message itself stays in Redis.
local queue = unpack(KEYS)
local entries = unpack(ARGV)

local raw = redis.call('LINDEX', queue, -1)
local at = false
if raw then
  at = redis.call('HGET', entries .. id_of(raw), 'at')
end
return {redis.call('LLEN', queue), at}
