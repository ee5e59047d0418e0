-- The claim on a tier's training: the one state machine that producers and trainers share.
-- A producer books a tier; a trainer claims it for one delivery, renews the claim while it works, and releases it.
-- The claim of a silent trainer can be taken over by the same run, and by others as soon as the ledger does not know the
-- run any more. A request to stop is part of the claim: it holds for each delivery of the run.
local claim, entry, guard = unpack(KEYS)
local action, run, holder, ttl, entries, guards = unpack(ARGV)

local seconds, microseconds = unpack(redis.call('TIME'))
local now = tonumber(seconds) + tonumber(microseconds) / 1000000
local current, owner, ends = unpack(redis.call('HMGET', claim, 'id', 'holder', 'ends'))
local is_alive = tonumber(ends or 0) > now
local is_held = is_alive and owner ~= ''
-- A trainer releases its claim just after the outcome is stored; a client that has read the outcome need not wait for that.
local is_free = not current or redis.call('EXISTS', guards .. current) == 1
  or (not is_alive and redis.call('EXISTS', entries .. current) == 0)

local function take()
  -- The first write adds something: a full Redis refuses such a script as a whole.
  redis.call('HSET', claim, 'id', run, 'holder', holder, 'ends', now + ttl)
  if current ~= run then redis.call('HDEL', claim, 'cancel') end
end

if action == 'book' then
  if not is_free then return current end
  take()
  return run
elseif action == 'unbook' then
  if current == run and not is_held then redis.call('DEL', claim) end
elseif action == 'cancel' then
  if is_free then return false end
  redis.call('HSET', claim, 'cancel', holder)
  return current
elseif action == 'claim' then
  if redis.call('EXISTS', guard) == 1 then return 'done' end
  if current ~= run and not is_free then return current end
  if current == run and is_held and owner ~= holder then return 'held' end
  take()
  return 'mine'
elseif action == 'renew' then
  if is_held and owner ~= holder then return 'lost' end
  if current ~= run and (not is_free or redis.call('EXISTS', guard) == 1) then return 'lost' end
  take()
  -- The reconciler sees in the ledger's entry that the run is alive. A run that works for a minute is not poison.
  if redis.call('HEXISTS', entry, 'message') == 1 then
    redis.call('HSET', entry, 'alive_at', now)
    local started_at = tonumber(redis.call('HGET', entry, 'started_at') or now)
    if now - started_at > 60 then redis.call('HSET', entry, 'attempts', 0) end
  end
  if redis.call('HEXISTS', claim, 'cancel') == 1 then return 'cancelled' end
  return 'mine'
elseif action == 'abandon' then
  -- Its process is gone; a request to stop stays.
  if current == run then redis.call('HSET', claim, 'ends', 0) end
elseif action == 'release' then
  if owner == holder then redis.call('DEL', claim) end
end
return false
