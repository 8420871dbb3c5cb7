-- KEYS: quotas, some of them several times. ARGV: lease in milliseconds, then the owner of each.
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + ARGV[1], ARGV[i + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
return 0
