-- Moves last seen and expiry of a record of this version, never to an earlier time. Returns 1 if it did, 0 if not, and
-- the negated life if the caller must write the owner's index first (in a Cluster, where the index may be on another node).
-- KEYS: record, and the owner's index if the record has an owner and the index is on this server
-- ARGV: version, last seen, expiry, life in ms, id, whether the caller has written the index ('1')
local stored = redis.call('HMGET', KEYS[1], 'version', 'owner', 'indexed', 'last_seen', 'expires_at')
if stored[1] ~= ARGV[1] then return 0 end
local left, life = redis.call('PTTL', KEYS[1]), tonumber(ARGV[4])
if left >= 0 and left < life then
  local now = server_time()
  if stored[2] and tonumber(stored[3] or 0) < now + life then
    local span = life + math.floor(life / 2)
    if KEYS[2] then
      write_index(KEYS[2], ARGV[5], now, span)
    elseif ARGV[6] ~= '1' then
      return -life
    end
    redis.call('HSET', KEYS[1], 'indexed', string.format('%.0f', now + span))
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if tonumber(stored[4] or 0) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], 'last_seen', ARGV[2]) end
if tonumber(stored[5] or 0) < tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'expires_at', ARGV[3]) end
return 1
