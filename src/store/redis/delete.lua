-- Deletes a record. Returns 1 if there was one, otherwise 0.
-- KEYS: record, and the owner's index if the owner is known and its index is on this server
-- ARGV: id
if read_head(KEYS[1], 0) == '' then return 0 end
redis.call('UNLINK', KEYS[1])
if KEYS[2] then redis.pcall('ZREM', KEYS[2], ARGV[1]) end
return 1
