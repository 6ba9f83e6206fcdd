-- In a cluster: lists a session under its owner, before its record is written. The entry is good for half as long again
-- as the session may live, so that most writes find it there; what is over goes.
-- KEYS: index
-- ARGV: id, life in ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A little more than the record will say.
local span = tonumber(ARGV[2]) + math.floor(tonumber(ARGV[2]) / 2) + 60000
redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', now + span), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if redis.call('PTTL', KEYS[1]) < span then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', span))
end
return 1
