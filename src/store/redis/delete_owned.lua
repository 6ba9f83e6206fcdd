-- Deletes the records of an owner. Returns the ids of those that it deleted.
-- KEYS: records, and then the owner's index if it is on this server
-- ARGV: owner, or owner and realm, as records have them; ids in the order of the records
local owner, deleted = ARGV[1], {}
for place = 2, #ARGV do
  local record = KEYS[place - 1]
  local head = read_head(record, 26 + #owner)
  local version_length = (string.byte(head) or 0) % 16
  if string.sub(head, version_length + 20, version_length + 19 + #owner) == owner then
    redis.call('UNLINK', record)
    deleted[#deleted + 1] = ARGV[place]
  end
end
local index = KEYS[#ARGV]
if index then
  for _, id in ipairs(deleted) do redis.pcall('ZREM', index, id) end
end
return deleted
