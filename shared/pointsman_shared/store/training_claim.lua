-- The claim on a tier's training: the one state machine that producers and trainers share.
-- A producer books a tier; a trainer claims it for one delivery, renews the claim while it works, and releases it.
local claim, entry, guard = unpack(KEYS)
local action, run, holder, ttl, now = unpack(ARGV)

local current, owner = unpack(redis.call('HMGET', claim, 'id', 'holder'))
local is_held = owner and owner ~= ''

local function take()
  redis.call('HSET', claim, 'id', run, 'holder', holder)
  redis.call('PEXPIRE', claim, ttl)
end

if action == 'book' then
  if not current then take() end
  return current or run
elseif action == 'unbook' then
  if current == run and not is_held then redis.call('DEL', claim) end
elseif action == 'cancel' then
  if current then redis.call('HSET', claim, 'cancel', holder) end
  return current
elseif action == 'claim' then
  if redis.call('EXISTS', guard) == 1 then return 'done' end
  if current and current ~= run then return current end
  if is_held and owner ~= holder then return 'held' end
  take()
  return 'mine'
elseif action == 'renew' then
  if is_held and owner ~= holder then return 'lost' end
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
