-- Publish a message and open its ledger entry.
-- A message whose effects are proven is only answered again, so it gets no entry. A failure without such a proof is
-- deleted, so that a client that submits the message again waits for the new outcome. So is a proof whose outcome is gone,
-- for it would leave that client without an answer. Returns 0, and does nothing, if the id is that of another request,
-- which the digest tells: its outcome would be taken for this one's.
local queue, entry, index, guard, result = unpack(KEYS)
local message, id, digest = unpack(ARGV)

local is_there = redis.call('EXISTS', result) == 1
local known = redis.call('HGET', entry, 'digest') or (is_there and redis.call('GET', guard))
if digest ~= '' and known and known ~= '1' and known ~= digest then return 0 end
-- The first write adds something: a full Redis refuses such a script as a whole.
if not is_there or redis.call('EXISTS', guard) == 0 then
  local now = redis.call('TIME')[1]
  redis.call('HSET', entry, 'queue', queue, 'message', message, 'at', now)
  if digest ~= '' then redis.call('HSET', entry, 'digest', digest) end
  redis.call('ZADD', index, now, id)
  if string.find(redis.call('GETRANGE', result, 0, 40), '"FAILURE"', 1, true) then redis.call('DEL', result) end
  redis.call('DEL', guard)
end
redis.call('LPUSH', queue, message)
return 1
