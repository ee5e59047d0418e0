-- Put the message of a dead letter back on its queue. Of two that replay it at once, the first one does it.
-- Returns 1 if it is done, 0 if there is no such letter, -1 if the letter has no message.
-- The guard and the failed outcome go, so that the next outcome counts.
local letter, index, result, guard, entry, open = unpack(KEYS)
local id, now, batches = unpack(ARGV)

if redis.call('EXISTS', letter) == 0 then return 0 end
local payload, queue, failed, batch = unpack(redis.call('HMGET', letter, 'payload', 'queue', 'counted', 'batch'))
if not payload or payload == '' then return -1 end
redis.call('DEL', letter, result, guard)
redis.call('ZREM', index, id)
redis.call('HSET', entry, 'queue', queue, 'message', payload, 'at', now)
redis.call('ZADD', open, now, id)
failed = tonumber(failed or '0')
if failed > 0 and redis.call('EXISTS', batches .. batch) == 1 then
  redis.call('HINCRBY', batches .. batch, 'failed', -failed)
end
redis.call('LPUSH', queue, payload)
return 1
