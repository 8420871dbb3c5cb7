-- KEYS: buckets as limits_consume.lua stores them: the millisecond when each is full again. ARGV: for each how many
-- milliseconds of refilling were consumed, and how long an empty bucket takes to fill. Returns for each in how many
-- microseconds it will be full.
local now = clock[1] * 1000 + clock[2] / 1000
local answer = {}
for i, key in ipairs(KEYS) do
  local full, length = math.max(tonumber(redis.call('GET', key) or now), now), tonumber(ARGV[2 * i])
  if full > now + longest_debt(length) then full = now + length end
  full = full + tonumber(ARGV[2 * i - 1])
  redis.call('SET', key, string.format('%.3f', full), 'PX', math.ceil(math.max(full - now, 1)))
  answer[i] = math.ceil((full - now) * 1000)
end
return answer
