-- KEYS and ARGV: as in presence_claim.lua, for sockets that close.
for i = 1, #KEYS / 2 do
  local key, mailbox, connection, user = KEYS[2 * i - 1], ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
  local before = ends(key)
  local held, last = string.match(redis.call('HGET', key, mailbox) or '', '^(%d+):(%d+)$')
  if held and tonumber(held) <= tonumber(connection) then
    write(key, mailbox, connection, math.min(tonumber(last), now + grace))
    local after = ends(key)
    if after < before then announce(KEYS[2 * i], user, after) end
  end
end
send()
return 0
