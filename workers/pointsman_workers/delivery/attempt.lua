-- Count an attempt of a message before a worker runs it.
-- Returns {attempts, nothing}; {0, outcome} if it is finished; {-1, nothing} if its batch is cancelled.
local result, guard, entry, index, cancelled = unpack(KEYS)
local id, worker, now, ttl, delivery = unpack(ARGV)

-- The first write removes something: a full Redis refuses a script that adds first, and this one must run.
redis.call('ZREM', index, '')
local stored = redis.call('GET', result)
local succeeded = stored and string.find(string.sub(stored, 1, 40), '"SUCCESS"', 1, true)
if succeeded or redis.call('EXISTS', guard) == 1 then
  redis.call('DEL', entry)
  redis.call('ZREM', index, id)
  return {0, stored}
end
if redis.call('EXISTS', cancelled) == 1 then return {-1, false} end
-- Redis's client asks again if it misses the answer; that is the same attempt.
local is_new = redis.call('HGET', entry, 'delivery') ~= delivery
local attempts = redis.call('HINCRBY', entry, 'attempts', is_new and 1 or 0)
redis.call('HSET', entry, 'worker', worker, 'started_at', now, 'delivery', delivery)
-- Without its message, the entry cannot be published again: it must not stay for ever.
if redis.call('HEXISTS', entry, 'message') == 0 then redis.call('EXPIRE', entry, ttl) end
return {attempts, false}
