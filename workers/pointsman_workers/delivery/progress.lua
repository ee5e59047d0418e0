-- Store how far the work on a message is, unless it has an outcome: the ledger has its entry until then.
local result, entry = unpack(KEYS)
local progress, ttl = unpack(ARGV)

if redis.call('EXISTS', entry) == 0 then return false end
redis.call('SET', result, progress, 'EX', ttl)
redis.call('PUBLISH', result, progress)
return true
