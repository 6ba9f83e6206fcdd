-- Moves last seen and expiry of a record of this version, never back. Says 1 if it did, 0 if not, and the owner if the
-- index of owners must be written first, by another call (in a cluster).
-- KEYS: record
-- ARGV: version, last seen, expiry, life in ms, id, owner's key prefix ('' in a cluster), whether the index was written
local stored = redis.call('HMGET', KEYS[1], 'version', 'owner', 'indexed', 'last_seen', 'expires_at')
if stored[1] ~= ARGV[1] then return 0 end
local left, life = redis.call('PTTL', KEYS[1]), tonumber(ARGV[4])
if left >= 0 and left < life then
  local owner, prefix = stored[2], ARGV[6]
  if owner then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    if tonumber(stored[3] or 0) < now + life then
      local span = life + math.floor(life / 2)
      local indexed = string.format('%.0f', now + span)
      if prefix ~= '' then
        local index = prefix .. owner
        redis.call('ZADD', index, indexed, ARGV[5])
        redis.call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', now))
        if redis.call('PTTL', index) < span then
          redis.call('PEXPIRE', index, string.format('%.0f', span))
        end
      elseif ARGV[7] ~= '1' then
        return owner
      end
      redis.call('HSET', KEYS[1], 'indexed', indexed)
    end
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if tonumber(stored[4] or 0) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], 'last_seen', ARGV[2]) end
if tonumber(stored[5] or 0) < tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'expires_at', ARGV[3]) end
return 1
