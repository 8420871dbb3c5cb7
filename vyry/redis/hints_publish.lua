-- KEYS: the location of each mailbox. ARGV: prefix of the channels, header of the hint, then the packed key of each
-- mailbox. Returns the indexes of those that have a socket.
local bags, held = {}, {}
for i, where in ipairs(redis.call('MGET', unpack(KEYS))) do
  local node = where and string.match(where, '^(%x+):')
  if node then
    held[#held + 1] = i - 1
    local bag = bags[node] or {ARGV[2]}
    bag[#bag + 1] = ARGV[i + 2]
    bags[node] = bag
  end
end
for node, bag in pairs(bags) do redis.call('PUBLISH', ARGV[1] .. node, table.concat(bag)) end
return held
