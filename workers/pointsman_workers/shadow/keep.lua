-- luacheck: ignore extend
-- The shadow's part of the transaction that stores an outcome: keep the message until its texts are shadowed.
-- Renaming the ledger's entry copies nothing. Errors in here never touch the outcome.
-- want: {kept, waiting, bytes, stats, dropped = names; texts, places, shed, limit}
local function keep(id, entry, ttl, want)
  local overhead = 400
  local seconds, microseconds = unpack(redis.call('TIME'))
  local now = seconds + microseconds / 1000000
  local bytes, shed = overhead, want.shed
  local used = tonumber(redis.call('GET', want.bytes) or 0)
  -- A message that is shed is only noted; for notes alone there is some more room.
  if used > want.limit * 1.25 + 1048576 then
    redis.call('HINCRBY', want.stats, want.dropped, 1)
    return
  end
  if shed == '' and used >= want.limit then shed = 'queue_full' end
  if shed == '' then
    local size = redis.call('HSTRLEN', entry, 'message')
    if size > 0 then
      redis.call('RENAME', entry, want.kept)
      bytes = bytes + size
    else
      shed = 'request_lost'
    end
  end
  redis.call('HSET', want.kept, 'texts', want.texts, 'places', want.places, 'shed', shed,
    'served_at', now, 'bytes', bytes)
  redis.call('EXPIRE', want.kept, ttl)
  redis.call('ZADD', want.waiting, now, id)
  redis.call('INCRBY', want.bytes, bytes)
end

local function extend(id, entry, ttl, want)
  if pcall(keep, id, entry, ttl, want) then return end
  redis.pcall('DEL', want.kept)
  redis.pcall('HINCRBY', want.stats, want.dropped, 1)
end
