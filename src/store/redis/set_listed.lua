-- The rest of set.lua: writes that keep the stored times, write an expired record, or extend the owner's index.
if not life then
  front = front .. string.sub(head, #expected + 1, #expected + 14)
elseif life <= 0 then
  redis.call('UNLINK', KEYS[1])
  if KEYS[2] then redis.pcall('ZREM', KEYS[2], ARGV[7]) end
  return 1
end
if owner then
  local remaining = life or redis.call('PTTL', KEYS[1])
  local now = server_time()
  if number(listed_until) * 60000 < now + remaining then
    if KEYS[2] then
      -- Writes nothing, but is refused if the write below would be.
      redis.call('SET', KEYS[1], '', head == '' and 'XX' or 'NX')
    elseif ARGV[8] ~= '1' then
      return -remaining
    end
    listed_until = list(KEYS[2], ARGV[7], now, remaining)
  end
end
if life then
  redis.call('SET', KEYS[1], front .. listed_until .. ARGV[3], 'PX', ARGV[4])
else
  redis.call('SET', KEYS[1], front .. listed_until .. ARGV[3], 'KEEPTTL')
end
return 1
