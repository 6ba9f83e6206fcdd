-- Deletes a record. Says 0 if there was none, 1 if there was one without an owner, otherwise the owner.
-- KEYS: record
-- ARGV: id, owner's key prefix ('' in a cluster, where the caller tidies the index)
local owner = redis.call('HGET', KEYS[1], 'owner')
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
if not owner then return 1 end
if ARGV[2] ~= '' then redis.call('ZREM', ARGV[2] .. owner, ARGV[1]) end
return owner
