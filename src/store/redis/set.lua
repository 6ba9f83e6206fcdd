-- Writes a record if the stored one is the expected one. Returns 1 if it did, 0 if not, and the
-- negated life if the caller must write the owner's index first (in a Cluster, where the index may be on another node).
-- KEYS: record, and the owner's index if the record has an owner and the index is on this server
-- ARGV: expected version ('' for no record), version, both times ('' to keep the stored ones), life in ms, owner, realm, state,
-- id, whether the caller has written the index ('1')
local expected, times, life, owner = ARGV[1], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local head = read_head(KEYS[1], #owner)
if (expected == '' and head ~= '') or string.sub(head, 1, #expected) ~= expected then return 0 end
local keeps_times = times == ''
if keeps_times then
  times, life = string.sub(head, #expected + 1, #expected + 14), redis.call('PTTL', KEYS[1])
elseif life <= 0 then
  redis.call('UNLINK', KEYS[1])
  if KEYS[2] then redis.pcall('ZREM', KEYS[2], ARGV[8]) end
  return 1
end
local listed_until = '\0\0\0\0'
if owner ~= '\0' then
  local now = server_time()
  if string.sub(head, #expected + 19, #expected + 18 + #owner) == owner then
    listed_until = string.sub(head, #expected + 15, #expected + 18)
  end
  if number(listed_until) * 60000 < now + life then
    local span = life + math.floor(life / 2)
    if KEYS[2] then
      -- Writes nothing, but is refused if the write below would be.
      redis.call('SET', KEYS[1], '', head == '' and 'XX' or 'NX')
      write_index(KEYS[2], ARGV[8], now, span)
    elseif ARGV[9] ~= '1' then
      return -life
    end
    listed_until = minute_bytes(math.floor((now + span) / 60000))
  end
end
local record = ARGV[2] .. times .. listed_until .. owner .. ARGV[6] .. ARGV[7]
if keeps_times then
  redis.call('SET', KEYS[1], record, 'KEEPTTL')
else
  redis.call('SET', KEYS[1], record, 'PX', ARGV[4])
end
return 1
