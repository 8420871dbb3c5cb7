-- KEYS: the watchers of each account. ARGV: the node's channel.
for _, key in ipairs(KEYS) do redis.call('HDEL', key, ARGV[1]) end
return 0
