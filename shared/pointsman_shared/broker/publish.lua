-- Publish a message and open its ledger entry.
-- A message whose effects are proven is only answered again, so it gets no entry. A failure without such a proof is
-- deleted, so that a client that submits the message again waits for the new outcome. So is a proof whose outcome is gone,
-- for it would leave that client without an answer.
local queue, entry, index, guard, result = unpack(KEYS)
local message, id = unpack(ARGV)

if redis.call('EXISTS', result) == 0 then redis.call('DEL', guard) end
if redis.call('EXISTS', guard) == 0 then
  if string.find(redis.call('GETRANGE', result, 0, 40), '"FAILURE"', 1, true) then redis.call('DEL', result) end
  local now = redis.call('TIME')[1]
  redis.call('HSET', entry, 'queue', queue, 'message', message, 'at', now)
  redis.call('ZADD', index, now, id)
end
redis.call('LPUSH', queue, message)
