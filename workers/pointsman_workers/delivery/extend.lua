-- luacheck: ignore extend
-- What a feature adds to the closing transaction; without a feature, nothing.
local function extend() end
