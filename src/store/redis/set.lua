-- Writes a record, if what is stored is what was expected. Says 1 if it did, 0 if not, and 2 if the index of owners must
-- be written first, by another call (in a cluster, where the index is on another node).
-- KEYS: record
-- ARGV: expected version ('' for none), version, last seen, expiry, life in ms, state, id, owner's key prefix ('' in a
-- cluster), whether the index was written ('1'), owner (absent for none)
local stored = redis.call('HMGET', KEYS[1], 'version', 'owner', 'indexed')
if ARGV[1] == '' then
  if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
elseif stored[1] ~= ARGV[1] then
  return 0
end
local owner, life, prefix = ARGV[10], tonumber(ARGV[5]), ARGV[8]
local function leave_the_last_owner()
  if prefix ~= '' and stored[2] and stored[2] ~= owner then
    redis.call('ZREM', prefix .. stored[2], ARGV[7])
  end
end
if life <= 0 then
  redis.call('DEL', KEYS[1])
  leave_the_last_owner()
  return 1
end
-- A server that is out of memory stops a script at its first write or not at all, so the first must be one that grows.
local indexed = false
if owner then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  indexed = tonumber(stored[2] == owner and stored[3] or 0)
  if indexed < now + life then
    indexed = now + life + math.floor(life / 2)
    if prefix ~= '' then
      local index, span = prefix .. owner, indexed - now
      redis.call('ZADD', index, string.format('%.0f', indexed), ARGV[7])
      redis.call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', now))
      if redis.call('PTTL', index) < span then
        redis.call('PEXPIRE', index, string.format('%.0f', span))
      end
    elseif ARGV[9] ~= '1' then
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
leave_the_last_owner()
return 1
