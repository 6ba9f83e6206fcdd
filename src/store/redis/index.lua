-- In a Cluster: lists a session in its owner's index, before its record is written. The entry lasts for one and a half
-- times the session's remaining life, so that most later writes need not extend it.
-- KEYS: index
-- ARGV: id, life in ms
local life = tonumber(ARGV[2])
-- A minute longer than the record will say, because the clocks of two nodes differ.
write_index(KEYS[1], ARGV[1], server_time(), life + math.floor(life / 2) + 60000)
return 1
