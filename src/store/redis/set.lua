-- Writes a record if the stored one is the expected one. Returns 1 if it did, 0 if not, and the
-- negated life if the caller must write the owner's index first (in a Cluster, where the index may be on another node).
-- KEYS: record, and the owner's index if the record has an owner and the index is on this server
-- ARGV: expected version ('' for no record), version, realm, last seen, expiry, life in ms, state, id, whether the caller has
-- written the index ('1'), whether the stored times stay ('1'), owner (absent if none)
local stored = redis.call('HMGET', KEYS[1], 'version', 'owner', 'indexed')
if ARGV[1] == '' then
  if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
elseif stored[1] ~= ARGV[1] then
  return 0
end
local life, keeps_times, owner = tonumber(ARGV[6]), ARGV[10] == '1', ARGV[11]
if keeps_times then life = redis.call('PTTL', KEYS[1]) end
if life <= 0 then
  redis.call('DEL', KEYS[1])
  if KEYS[2] then redis.call('ZREM', KEYS[2], ARGV[8]) end
  return 1
end
-- A server that is out of memory stops a script at its first write or not at all, so the first must be one that grows.
local indexed = false
if owner then
  local now = server_time()
  indexed = tonumber(stored[2] == owner and stored[3] or 0)
  if indexed < now + life then
    local span = life + math.floor(life / 2)
    indexed = now + span
    if KEYS[2] then
      write_index(KEYS[2], ARGV[8], now, span)
    elseif ARGV[9] ~= '1' then
      return -life
    end
  end
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'realm', ARGV[3], 'state', ARGV[7])
if not keeps_times then
  redis.call('HSET', KEYS[1], 'last_seen', ARGV[4], 'expires_at', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
if owner then
  redis.call('HSET', KEYS[1], 'owner', owner, 'indexed', string.format('%.0f', indexed))
elseif stored[2] then
  redis.call('HDEL', KEYS[1], 'owner', 'indexed')
end
return 1
