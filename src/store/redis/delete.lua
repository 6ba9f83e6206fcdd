-- Deletes a record. Returns 1 if there was one, otherwise 0.
-- KEYS: record, and the owner's index if the owner is known and its index is on this server
-- ARGV: id
if redis.call('HLEN', KEYS[1]) == 0 then return 0 end
redis.call('DEL', KEYS[1])
if KEYS[2] then redis.call('ZREM', KEYS[2], ARGV[1]) end
return 1
