-- KEYS: quotas. ARGV: lease in milliseconds, the owner, the owner whose slot counts as free, then the limit of each
-- quota. Returns the other owners of each.
local others, is_full = {}, false
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  -- A longer lease was written while the clock was ahead: its owner renews it.
  redis.call('ZREMRANGEBYSCORE', key, '(' .. string.format('%.0f', now + ARGV[1]), '+inf')
  others[i] = redis.call('ZCARD', key) - (redis.call('ZSCORE', key, ARGV[3]) and 1 or 0)
  if others[i] >= tonumber(ARGV[i + 3]) then is_full = true end
end
if not is_full then
  for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[1], ARGV[2])
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return others
