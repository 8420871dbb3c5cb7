-- KEYS: quotas. ARGV: lease in milliseconds, the old owner, the new owner or an empty string.
for _, key in ipairs(KEYS) do
  redis.call('ZREM', key, ARGV[2])
  if ARGV[3] ~= '' then
    redis.call('ZADD', key, now + ARGV[1], ARGV[3])
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return 0
