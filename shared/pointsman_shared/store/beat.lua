-- Write down when a worker last heard from its queues.
local pulse = unpack(KEYS)
local heard_at, ttl_ms = unpack(ARGV)

-- The first write removes something: a full Redis refuses a script that adds first, and a sound worker would be ended.
redis.call('DEL', pulse)
redis.call('SET', pulse, heard_at, 'PX', ttl_ms)
