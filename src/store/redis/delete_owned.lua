-- Deletes the records of an owner. Returns the ids of those that it deleted.
-- KEYS: records, and then the owner's index if it is on this server
-- ARGV: owner, whether a realm is given ('1'), realm, ids in the order of the records
local deleted = {}
for place = 4, #ARGV do
  local record = KEYS[place - 3]
  local stored = redis.call('HMGET', record, 'owner', 'realm')
  if stored[1] == ARGV[1] and (ARGV[2] ~= '1' or stored[2] == ARGV[3]) then
    redis.call('UNLINK', record)
    deleted[#deleted + 1] = ARGV[place]
  end
end
local index = KEYS[#ARGV - 2]
if index then
  for _, id in ipairs(deleted) do redis.call('ZREM', index, id) end
end
return deleted
