-- luacheck: ignore bury
-- Keep a dead letter, and delete the oldest ones if there are too many or if they are too old.
-- what: {fields = {name = value}, at = seconds, ttl = seconds, most = count, prefix = prefix of the letters' keys}
local function bury(letter, index, id, what)
  for name, value in pairs(what.fields) do redis.call('HSET', letter, name, value) end
  redis.call('EXPIRE', letter, what.ttl)
  redis.call('ZADD', index, what.at, id)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', what.at - what.ttl)
  local over = redis.call('ZCARD', index) - what.most
  if over > 0 then
    for _, oldest in ipairs(redis.call('ZRANGE', index, 0, over - 1)) do redis.call('DEL', what.prefix .. oldest) end
    redis.call('ZREMRANGEBYRANK', index, 0, over - 1)
  end
end
