-- KEYS: the location of each mailbox. ARGV: this node, lease in milliseconds, prefix of the channels, then for each
-- mailbox its connection and the hint for the connection that it displaces. Returns for each the number of a newer
-- connection, which keeps the mailbox, or an empty string.
local newer = {}
for i, key in ipairs(KEYS) do
  local mine, hint = ARGV[2 * i + 2], ARGV[2 * i + 3]
  local node, number = string.match(redis.call('GET', key) or '', '^(%x+):(%d+)$')
  if number and tonumber(number) > tonumber(mine) then
    newer[i] = number
  else
    newer[i] = ''
    redis.call('SET', key, ARGV[1] .. ':' .. mine, 'PX', ARGV[2])
    if number and node ~= ARGV[1] then redis.call('PUBLISH', ARGV[3] .. node, hint) end
  end
end
return newer
