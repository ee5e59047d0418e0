-- Store a cancelled outcome for a message that is in flight. The guard of the outcomes decides here as well, so a message
-- is either done or cancelled. Nothing is left of an id that no message has.
local result, done, entry, open_index, progress = unpack(KEYS)
local id, outcome, ttl, texts, channel = unpack(ARGV)
redis.call('ZREM', open_index, id)
if redis.call('EXISTS', entry) == 0 then return 0 end
local stored = redis.call('GETRANGE', result, 0, 40)
local proof = redis.call('HGET', entry, 'digest') or '1'
if string.find(stored, '"SUCCESS"', 1, true) or not redis.call('SET', done, proof, 'NX', 'EX', ttl) then return 0 end
redis.call('DEL', entry)
redis.call('SET', result, outcome, 'EX', ttl)
redis.call('PUBLISH', result, outcome)
if tonumber(texts) > 0 then
  redis.call('HINCRBY', progress, 'cancelled', texts)
  redis.call('EXPIRE', progress, ttl)
end
if channel ~= '' then redis.call('PUBLISH', channel, id) end
return 1
