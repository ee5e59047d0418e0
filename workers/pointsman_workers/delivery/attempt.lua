-- Count an attempt of a message before a worker runs it.
-- Returns {attempts, nothing}; {0, outcome} if it is finished; {-1, nothing} if its batch is cancelled; {-2, nothing} if
-- its last attempt is deferred: while other messages are interrupted too, an interruption says little about this one;
-- {-3, nothing} if the id is that of another request, which the digest tells.
local result, guard, entry, index, cancelled, interrupted, deferred = unpack(KEYS)
local id, worker, now, ttl, delivery, most, calm_s, again_s, patience_s, digest = unpack(ARGV)

-- The first write removes something: a full Redis refuses a script that adds first, and this one must run.
redis.call('ZREM', index, '')
local known = redis.call('HGET', entry, 'digest') or redis.call('GET', guard)
if digest ~= '' and known and known ~= '1' and known ~= digest then return {-3, false} end
local stored = redis.call('GET', result)
local succeeded = stored and string.find(string.sub(stored, 1, 40), '"SUCCESS"', 1, true)
if succeeded or redis.call('EXISTS', guard) == 1 then
  redis.call('DEL', entry)
  redis.call('ZREM', index, id)
  return {0, stored}
end
if redis.call('EXISTS', cancelled) == 1 then return {-1, false} end

local last, noted, attempts = unpack(redis.call('HMGET', entry, 'delivery', 'interrupted', 'attempts'))
attempts = tonumber(attempts or '0')
-- Redis's client asks again if it misses the answer; that is the same attempt.
local is_new = last ~= delivery
if is_new and attempts > 0 then
  if noted ~= last then
    redis.call('HSET', entry, 'interrupted', last)
    redis.call('ZADD', interrupted, now, id)
    redis.call('EXPIRE', interrupted, calm_s)
  end
  -- A message that proves to be poison says nothing about the others.
  if attempts >= tonumber(most) then redis.call('ZREM', interrupted, id) end
  redis.call('ZREMRANGEBYSCORE', interrupted, '-inf', now - calm_s)
  if attempts == most - 1 and redis.call('HEXISTS', entry, 'message') == 1 then
    redis.call('HSETNX', entry, 'deferred_at', now)
    local others = redis.call('ZCARD', interrupted) - (redis.call('ZSCORE', interrupted, id) and 1 or 0)
    if others > 0 and now - redis.call('HGET', entry, 'deferred_at') < tonumber(patience_s) then
      redis.call('ZADD', deferred, now + again_s, id)
      redis.call('ZADD', index, now + again_s, id)
      return {-2, false}
    end
  end
end
attempts = redis.call('HINCRBY', entry, 'attempts', is_new and 1 or 0)
if digest ~= '' then redis.call('HSET', entry, 'digest', digest) end
redis.call('HSET', entry, 'worker', worker, 'started_at', now, 'delivery', delivery)
-- Without its message, the entry cannot be published again: it must not stay for ever.
if redis.call('HEXISTS', entry, 'message') == 0 then redis.call('EXPIRE', entry, ttl) end
return {attempts, false}
