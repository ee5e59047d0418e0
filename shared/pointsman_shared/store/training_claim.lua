-- The claim on a tier's training: the one state machine that producers and trainers share.
-- A producer books a tier; a trainer claims it for one delivery, renews the claim while it works, and releases it.
local claim, entry, guard = unpack(KEYS)
local action, run, holder, ttl, now, guards = unpack(ARGV)

local current, owner = unpack(redis.call('HMGET', claim, 'id', 'holder'))
local is_held = owner and owner ~= ''
-- A trainer releases its claim just after the outcome is stored; a client that has read the outcome need not wait for that.
local is_over = current and redis.call('EXISTS', guards .. current) == 1

local function take()
  redis.call('HSET', claim, 'id', run, 'holder', holder)
  redis.call('PEXPIRE', claim, ttl)
end

if action == 'book' then
  if current and not is_over then return current end
  redis.call('DEL', claim)
  take()
  return run
elseif action == 'unbook' then
  if current == run and not is_held then redis.call('DEL', claim) end
elseif action == 'cancel' then
  if not current or is_over then return false end
  redis.call('HSET', claim, 'cancel', holder)
  return current
elseif action == 'claim' then
  if redis.call('EXISTS', guard) == 1 then return 'done' end
  if current and current ~= run then return current end
  if is_held and owner ~= holder then return 'held' end
  take()
  return 'mine'
elseif action == 'renew' then
  if is_held and owner ~= holder then return 'lost' end
  if current ~= run and redis.call('EXISTS', guard) == 1 then return 'lost' end
  take()
  -- The reconciler sees in the ledger's entry that the run is alive. A run that works for a minute is not poison.
  if redis.call('HEXISTS', entry, 'message') == 1 then
    redis.call('HSET', entry, 'alive_at', now)
    local started_at = tonumber(redis.call('HGET', entry, 'started_at') or now)
    if now - started_at > 60 then redis.call('HSET', entry, 'attempts', 0) end
  end
  if redis.call('HEXISTS', claim, 'cancel') == 1 then return 'cancelled' end
  return 'mine'
elseif action == 'release' then
  if owner == holder then redis.call('DEL', claim) end
end
return false
