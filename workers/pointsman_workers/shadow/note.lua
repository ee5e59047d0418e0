-- Note which version works on a message, so that the next worker knows if that version ended the process.
local kept = unpack(KEYS)
local version = unpack(ARGV)

if redis.call('EXISTS', kept) == 1 then redis.call('HSET', kept, 'doing', version) end
