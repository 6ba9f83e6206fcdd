-- Deletes the records of an owner. Returns the ids of those that it deleted.
-- KEYS: records, and then the owner's index if it is on this server
-- ARGV: owner, or owner and realm, as records have them; ids in the order of the records
local owner, owned, deleted = ARGV[1], {}, {}
for place = 2, #ARGV do
  -- A key of another type is no record.
  local head = redis.pcall('GETRANGE', KEYS[place - 1], 0, 26 + #owner)
  if type(head) == 'table' then
    if not string.find(head.err, 'WRONGTYPE', 1, true) then return head end
  elseif (string.byte(head) or 0) >= 128 then
    local version_length = string.byte(head) % 16
    if string.sub(head, version_length + 20, version_length + 19 + #owner) == owner then
      owned[#owned + 1] = place
    end
  end
end
for _, place in ipairs(owned) do
  redis.call('UNLINK', KEYS[place - 1])
  deleted[#deleted + 1] = ARGV[place]
end
local index = KEYS[#ARGV]
if index then
  for _, id in ipairs(deleted) do redis.pcall('ZREM', index, id) end
end
return deleted
