-- luacheck: globals bury extend
-- Close a message: store its outcome, count it, keep a dead letter if it failed, tell the client. Only the first outcome
-- of a message has effects; a later one gets the stored outcome back.
-- what: {ttl, guard = boolean, counters = {name = count}, channel = name or '', letter = burial or nil, extra = any or nil}
local result, guard, entry, index, batch, letter, letters = unpack(KEYS)
local id, outcome, request = unpack(ARGV)

local what = cjson.decode(request)
-- The first write removes something: a full Redis refuses a script that adds first, and this one makes room.
redis.call('ZREM', index, id)
local stored = false
if redis.call('EXISTS', guard) == 1 then
  stored = redis.call('GET', result)
else
  if what.guard then redis.call('SET', guard, redis.call('HGET', entry, 'digest') or '1', 'EX', what.ttl) end
  redis.call('SET', result, outcome, 'EX', what.ttl)
  redis.call('PUBLISH', result, outcome)
  for name, count in pairs(what.counters) do
    redis.call('HINCRBY', batch, name, count)
    redis.call('EXPIRE', batch, what.ttl)
  end
  redis.call('DEL', letter)
  redis.call('ZREM', letters, id)
  if what.letter then
    local fields = what.letter.fields
    local message, queue, at, attempts = unpack(redis.call('HMGET', entry, 'message', 'queue', 'at', 'attempts'))
    if message then fields.payload, fields.queue, fields.submitted_at = message, queue, at end
    if attempts and fields.attempts == 0 then fields.attempts = attempts end
    bury(letter, letters, id, what.letter)
  end
  if what.extra then extend(id, entry, what.ttl, what.extra) end
end
redis.call('DEL', entry)
if what.channel ~= '' then redis.call('PUBLISH', what.channel, id) end
return stored
