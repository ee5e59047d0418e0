-- luacheck: globals id_of
-- Return the length of a queue, and for how many seconds its next message has waited, from the ledger: the message itself
-- stays in Redis.
local queue = unpack(KEYS)
local entries = unpack(ARGV)

local raw = redis.call('LINDEX', queue, -1)
local age = false
if raw then
  local at = tonumber(redis.call('HGET', entries .. id_of(raw), 'at') or nil)
  if at then age = math.max(0, math.floor(redis.call('TIME')[1] - at)) end
end
return {redis.call('LLEN', queue), age}
