-- Writes a record if the stored one is the expected one. Returns 1 if it did, 0 if not, and the
-- negated life if the caller must write the owner's index first (in a Cluster, where the index may be on another node).
-- KEYS: record, and the owner's index if the record has an owner and the index is on this server
-- ARGV: expected version ('' for no record), version and times (the version alone to keep the stored times), owner with realm
-- and state, life in ms ('' to keep the stored times), number of the last byte of the stored head and owner;
-- and for a record with an owner: owner, id, whether the caller has written the index ('1')
--
-- Most writes end in this file. The functions stand behind it, because a script creates them each time.
local expected, front, life, owner = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[6]
local head = redis.call('GETRANGE', KEYS[1], '0', ARGV[5])
if (expected == '' and head ~= '') or string.sub(head, 1, #expected) ~= expected then
  if head ~= '' and string.byte(head) < 128 then error('WRONGTYPE not a record') end
  return 0
end
local listed_until, is_listed = '\0\0\0\0', not owner
if owner and string.sub(head, #expected + 19, #expected + 18 + #owner) == owner then
  listed_until = string.sub(head, #expected + 15, #expected + 18)
  local first, second, third, fourth = string.byte(listed_until, 1, 4)
  local minute = ((first * 256 + second) * 256 + third) * 256 + fourth
  is_listed = life and redis.call('TIME')[1] + 1 + life / 1000 <= minute * 60
end
if is_listed and life and life > 0 then
  redis.call('SET', KEYS[1], front .. listed_until .. ARGV[3], 'PX', ARGV[4])
  return 1
end
