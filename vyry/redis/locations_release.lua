-- KEYS: the location of a mailbox. ARGV: the value that it must still have to be deleted.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
