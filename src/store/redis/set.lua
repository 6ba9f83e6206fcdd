-- Writes a record if the stored one is the expected one. Returns 1 if it did, 0 if not, and 2 if the caller must write the
-- owner's index first (in a Cluster, where the index may be on another node).
-- KEYS: record, and the owner's index if the record has an owner and the index is on this server
-- ARGV: expected version ('' for no record), version, last seen, expiry, life in ms, state, id, whether the caller has
-- written the index ('1'), owner (absent if none)
local stored = redis.call('HMGET', KEYS[1], 'version', 'owner', 'indexed')
if ARGV[1] == '' then
  if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
elseif stored[1] ~= ARGV[1] then
  return 0
end
local life, owner = tonumber(ARGV[5]), ARGV[9]
if life <= 0 then
  redis.call('DEL', KEYS[1])
  if KEYS[2] then redis.call('ZREM', KEYS[2], ARGV[7]) end
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
      write_index(KEYS[2], ARGV[7], now, span)
    elseif ARGV[8] ~= '1' then
      return 2
    end
  end
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'last_seen', ARGV[3], 'expires_at', ARGV[4], 'state', ARGV[6])
if owner then
  redis.call('HSET', KEYS[1], 'owner', owner, 'indexed', string.format('%.0f', indexed))
elseif stored[2] then
  redis.call('HDEL', KEYS[1], 'owner', 'indexed')
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
