-- Return the length of a queue, and when its next message was submitted, from the ledger: the message itself stays in Redis.
local queue = unpack(KEYS)
local entries = unpack(ARGV)

local raw = redis.call('LINDEX', queue, -1)
local at = false
if raw then
  local id = string.match(raw, '"id"%s*:%s*"([^"]+)"', math.max(1, #raw - 4096)) or ''
  at = redis.call('HGET', entries .. id, 'at')
end
return {redis.call('LLEN', queue), at}
