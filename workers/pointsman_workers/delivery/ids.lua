-- luacheck: ignore id_of
-- Return the id of a message as it lies in Redis. It stands behind the body, which is base64 and holds no quote: the
-- search starts near the end, and only a message with very long headers is searched from its start.
local function id_of(raw)
  local pattern = '"id\\?"%s*:%s*\\?"([^"\\]+)'
  return string.match(raw, pattern, math.max(1, #raw - 4096)) or string.match(raw, pattern) or ''
end
