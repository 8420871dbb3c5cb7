-- KEYS: for each socket its account's leases and watchers. ARGV: lease and grace in milliseconds, the kind of hint,
-- then for each socket its mailbox, connection and account.
for i = 1, #KEYS / 2 do
  local key, mailbox, connection, user = KEYS[2 * i - 1], ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
  local last = ends(key)
  local held = string.match(redis.call('HGET', key, mailbox) or '', '^(%d+):')
  if not held or tonumber(held) <= tonumber(connection) then
    write(key, mailbox, connection, now + lease)
    if last - now < lease / 2 then announce(KEYS[2 * i], user, now + lease) end
  end
end
send()
return 0
