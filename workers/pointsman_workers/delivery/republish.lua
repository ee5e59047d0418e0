-- Put a lost message back on its queue, unless it has an outcome by now.
local index, entry, guard, queue, stats = unpack(KEYS)
local id, now, message = unpack(ARGV)

-- The first write removes something: a full Redis refuses a script that adds first.
redis.call('ZREM', index, id)
if redis.call('EXISTS', guard) == 1 or redis.call('HEXISTS', entry, 'message') == 0 then
  redis.call('DEL', entry)
  return 0
end
redis.call('ZADD', index, now, id)
redis.call('HDEL', entry, 'alive_at')
redis.call('HINCRBY', entry, 'republished', 1)
redis.call('HINCRBY', stats, 'republished', 1)
redis.call('RPUSH', queue, message)
return 1
