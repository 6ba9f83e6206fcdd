-- Functions that several scripts use.

-- Returns the server's time in milliseconds since the Unix epoch.
local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lists a session in an owner's index for `span` ms, removes expired entries, and extends the index's expiry.
local function write_index(index, id, now, span)
  redis.call('ZADD', index, 'GT', string.format('%.0f', now + span), id)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', now))
  if redis.call('PTTL', index) < span then
    redis.call('PEXPIRE', index, string.format('%.0f', span))
  end
end

