-- Returns the ids in an owner's index that have not expired.
-- KEYS: index
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', server_time()), '+inf')
