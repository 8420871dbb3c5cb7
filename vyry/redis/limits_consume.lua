-- KEYS: one for each window. ARGV: cost, then for each window limit, length in milliseconds, grain in milliseconds
-- (0: a bucket); then 1 for a charge. Returns the wait in milliseconds (0: consumed), the number of the window (the
-- one to wait for, or the tightest), what it has left, and in how many milliseconds it is full again.
local cost = tonumber(ARGV[1])
local wait, longest, tightest, least, reset = 0, 1, 1, nil, 0
local writes = {}
for i, key in ipairs(KEYS) do
  local limit, length, grain = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local left, back
  if grain == 0 then
    local full = math.max(tonumber(redis.call('GET', key) or now), now)
    if full > now + longest_debt(length) then
      full = now + length
      redis.call('SET', key, string.format('%.3f', full), 'PX', length)
    end
    full = full + cost * length / limit
    back = full - now
    if back - length > wait then wait, longest = back - length, i end
    left = math.floor((length - back) * limit / length + 0.000001)
    writes[i] = {'SET', key, string.format('%.3f', full), 'PX', math.ceil(math.max(back, 1))}
  else
    local used, moments, entries = cost, {}, redis.call('HGETALL', key)
    for at = 1, #entries, 2 do
      local moment, count = tonumber(entries[at]), tonumber(entries[at + 1])
      if moment + length <= now then
        redis.call('HDEL', key, entries[at])
      else
        if moment > now + grain then
          redis.call('HDEL', key, entries[at])
          moment = math.ceil(now / grain) * grain
          redis.call('HINCRBY', key, string.format('%.0f', moment), count)
        end
        used = used + count
        moments[#moments + 1] = {moment, count}
      end
    end
    table.sort(moments, function(one, other) return one[1] < other[1] end)
    local excess, until_room = used - limit, 0
    for _, entry in ipairs(moments) do
      if excess <= 0 then break end
      until_room = entry[1] + length - now
      excess = excess - entry[2]
    end
    if excess > 0 then until_room = length end
    if until_room > wait then wait, longest = until_room, i end
    left = limit - used
    back = length
    writes[i] = {'HINCRBY', key, string.format('%.0f', math.ceil(now / grain) * grain), cost}
  end
  if least == nil or left < least then tightest, least, reset = i, left, back end
end
if wait >= 0.001 and ARGV[3 * #KEYS + 2] == '0' then return {math.ceil(wait), longest, 0, 0} end
for i, write in ipairs(writes) do
  redis.call(unpack(write))
  if write[1] == 'HINCRBY' then redis.call('PEXPIRE', KEYS[i], math.ceil(ARGV[3 * i] * (1 + 1 / 64))) end
end
return {0, tightest, math.max(0, least), math.ceil(reset)}
