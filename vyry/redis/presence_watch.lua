-- KEYS: for each account its leases and watchers. ARGV: lease and grace in milliseconds, the kind of hint, the
-- channel of the node. Returns the stamp, then for how many milliseconds each is online.
local states = {stamp}
for i = 1, #KEYS / 2 do
  redis.call('HSET', KEYS[2 * i], ARGV[4], string.format('%.0f', now + lease))
  redis.call('PEXPIRE', KEYS[2 * i], lease)
  states[i + 1] = math.max(0, ends(KEYS[2 * i - 1]) - now)
end
return states
