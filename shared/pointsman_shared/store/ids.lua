-- luacheck: ignore id_of
-- Return the id of a message as it lies in Redis. It stands behind the body, which is base64 and holds no quote: the
-- search starts near the end, and only a message with very long headers is searched from its start.
local function id_of(raw)
  local name = '"id"%s*:%s*"'
  local _, first = string.find(raw, name, math.max(1, #raw - 4096))
  if not first then _, first = string.find(raw, name) end
  local last = first
  repeat
    last = last and string.find(raw, '["\\]', last + 1)
    local is_escape = last and string.byte(raw, last) == 92
    if is_escape then last = last + 1 end
  until not is_escape
  -- It may hold quotes and other escapes: the ledger has it decoded.
  local is_text, found = pcall(cjson.decode, last and '[' .. string.sub(raw, first, last) .. ']')
  return is_text and found[1] or ''
end
