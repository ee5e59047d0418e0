-- Note that a message was taken from its queue.
local unacked, index = unpack(KEYS)
local tag, now, held = unpack(ARGV)

-- The first write removes something: a full Redis refuses a script that adds first, and a worker must go on.
redis.call('ZREM', index, tag)
redis.call('ZADD', index, now, tag)
redis.call('HSET', unacked, tag, held)
