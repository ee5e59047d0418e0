-- Forget that a message was taken, and put it on a queue if it is to go back: at the end that `push` names, or '' for none.
-- Does nothing if it was taken, or taken again, after the time `latest`, which is '' for any time.
local unacked, index, queue = unpack(KEYS)
local tag, latest, push, message = unpack(ARGV)

local at = redis.call('ZSCORE', index, tag)
if at and latest ~= '' and tonumber(at) > tonumber(latest) then return end
-- The first write removes something: a full Redis refuses a script that adds first, and a worker must go on.
redis.call('ZREM', index, tag)
-- Another worker may have put it back in the meantime.
if redis.call('HDEL', unacked, tag) == 1 and push ~= '' then redis.call(push, queue, message) end
