-- KEYS: quotas. Returns the number of owners of each.
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('ZCOUNT', key, '(' .. string.format('%.0f', now), '+inf') end
return found
