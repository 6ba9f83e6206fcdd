-- Functions that several scripts use.
--
-- A record is a string: a head, and then owner, realm and state. The head is a byte whose lower four bits are the
-- version's length, the version, last seen and expiry (7 bytes each), and the minute until which the owner's index lists the
-- session (4 bytes, 0 if unlisted). Numbers are big-endian.

-- Returns the beginning of a record up to this byte, or '' if there is no record. Fails if the key holds something else.
local function read_head(key, last)
  local head = redis.call('GETRANGE', key, 0, last)
  if head ~= '' and string.byte(head) < 128 then error('WRONGTYPE not a record') end
  return head
end

-- Returns the number that these bytes are.
local function number(bytes)
  local value = 0
  for place = 1, #bytes do value = value * 256 + string.byte(bytes, place) end
  return value
end

-- Returns the server's time in milliseconds since the Unix epoch.
local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lists a session in an owner's index for at least `span` ms, removes expired entries, and extends the index's expiry.
--
-- A server may refuse a command (full memory, a missing permission), and must do so before the first change. So ZADD and PEXPIRE
-- are first sent in forms that add nothing: with XX and a score that is not greater, and for an index that may be missing.
local function write_index(index, id, now, span)
  local left = redis.call('PTTL', index)
  redis.call('ZADD', index, 'XX', 'GT', 0, id)
  if left < span then redis.call('PEXPIRE', index, span) end
  redis.call('ZADD', index, 'GT', math.ceil((now + span) / 60000), id)
  if left < 0 then redis.call('PEXPIRE', index, span) end
  redis.pcall('ZREMRANGEBYSCORE', index, '-inf', math.floor(now / 60000))
end

-- Lists a session for one and a half times its life, if the index is on this server. Returns the minute until which it is
-- listed, in four bytes, which suffice until the year 10136.
local function list(index, id, now, life)
  local span = life + math.floor(life / 2)
  if index then write_index(index, id, now, span) end
  local minute, bytes = math.min(math.floor((now + span) / 60000), 4294967295), ''
  for _ = 1, 4 do
    bytes = string.char(minute % 256) .. bytes
    minute = math.floor(minute / 256)
  end
  return bytes
end

