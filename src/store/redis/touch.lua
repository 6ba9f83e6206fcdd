-- Moves last seen and expiry of a record of this version, never to an earlier time. Returns 1 if it did, 0 if not, and
-- the negated life if the caller must write the owner's index first (in a Cluster, where the index may be on another node).
-- KEYS: record, and the owner's index if the record has an owner and the index is on this server
-- ARGV: version, last seen, expiry, life in ms, whether the record has an owner ('1'), id, whether the caller has written the
-- index ('1')
local version, life = ARGV[1], tonumber(ARGV[4])
local head = read_head(KEYS[1], #version + 17)
if string.sub(head, 1, #version) ~= version then return 0 end
local function later(first, time)
  local stored = string.sub(head, #version + first, #version + first + 6)
  return number(stored) < number(time) and time or stored
end
local listed_until = string.sub(head, #version + 15, #version + 18)
local left = redis.call('PTTL', KEYS[1])
-- Writes nothing, but is refused if the write below would be.
redis.call('SETRANGE', KEYS[1], 0, '')
if left >= 0 and left < life then
  local now = server_time()
  if ARGV[5] == '1' and number(listed_until) * 60000 < now + life then
    if not KEYS[2] and ARGV[7] ~= '1' then return -life end
    listed_until = list(KEYS[2], ARGV[6], now, life)
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
redis.call('SETRANGE', KEYS[1], #version, later(1, ARGV[2]) .. later(8, ARGV[3]) .. listed_until)
return 1
