-- Begins the scripts that change the state of an account. ARGV: lease and grace in milliseconds, the kind of hint.
-- `ends` returns when the last lease of an account ends, or 0. A lease that is longer than a lease was written before
-- the clock was set back.
local stamp = string.format('%.0f', clock[1] * 1000000 + clock[2])
local lease, grace, hint_kind = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function ends(key)
  local latest, fields = 0, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local last = tonumber(string.match(fields[i + 1], ':(%d+)$'))
    if last <= now or last > now + lease then redis.call('HDEL', key, fields[i]) else latest = math.max(latest, last) end
  end
  return latest
end
local messages = {}
local function announce(watchers, user, last)
  local item = user .. ':' .. string.format('%.0f', math.max(0, last - now))
  local channels = redis.call('HGETALL', watchers)
  for i = 1, #channels, 2 do
    if tonumber(channels[i + 1]) <= now then
      redis.call('HDEL', watchers, channels[i])
    else
      local items = messages[channels[i]] or {stamp}
      items[#items + 1] = item
      messages[channels[i]] = items
    end
  end
end
local function send()
  for channel, items in pairs(messages) do
    local text = table.concat(items, ' ')
    redis.call('PUBLISH', channel, struct.pack('>BI4', hint_kind, #text) .. text)
  end
end
local function write(key, mailbox, connection, last)
  redis.call('HSET', key, mailbox, connection .. ':' .. string.format('%.0f', last))
  redis.call('PEXPIRE', key, lease)
end
