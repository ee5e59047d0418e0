-- Scripts run inside Redis, whose Lua is 5.1.
std = "lua51"
read_globals = {"redis", "cjson", "KEYS", "ARGV"}
max_line_length = 130
-- `unpack(KEYS)` names every key of a script, for its caller.
exclude_files = {".venv*"}
