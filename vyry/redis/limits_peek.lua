-- KEYS: windows of any quotas. ARGV: for each limit, length in milliseconds, grain in milliseconds (0: a bucket).
-- Returns for each what is left, and in how many milliseconds it is full again.
local now = clock[1] * 1000 + clock[2] / 1000
local answer = {}
for i, key in ipairs(KEYS) do
  local limit, length, grain = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local left, back = limit, 0
  if grain == 0 then
    back = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
    if back > longest_debt(length) then back = length end
    left = math.floor((length - back) * limit / length + 0.000001)
  else
    local entries = redis.call('HGETALL', key)
    for at = 1, #entries, 2 do
      local moment = math.min(tonumber(entries[at]), now + grain)
      if moment + length > now then
        left = left - tonumber(entries[at + 1])
        back = math.max(back, moment + length - now)
      end
    end
  end
  answer[2 * i - 1], answer[2 * i] = math.max(0, left), math.ceil(back)
end
return answer
