-- A charge may put a bucket some windows into debt. A bucket that is full even later was written while the clock of
-- Redis was ahead.
local function longest_debt(length) return math.max(length, math.min(8 * length, 86400000)) end
