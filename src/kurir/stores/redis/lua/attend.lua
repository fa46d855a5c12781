-- KEYS: the hash of those who are there. ARGV: holder, bots (as they are to be told), until, now, own clock.
-- Answers who is there: holder, until when, bots, one after the other.
local till, now = tonumber(ARGV[3]), tonumber(ARGV[4])
if ARGV[5] == '1' then
  local time = redis.call('TIME')
  local server = tonumber(time[1]) + tonumber(time[2]) / 1e6
  till, now = server + (till - now), server
end
if till > now then
  redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(till, ARGV[2]))
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
local there = {}
local all = redis.call('HGETALL', KEYS[1])
for index = 1, #all, 2 do
  local ends, able = cmsgpack.unpack(all[index + 1])
  if ends > now then
    there[#there + 1], there[#there + 2], there[#there + 3] = all[index], string.format('%.17g', ends), able
  else
    redis.call('HDEL', KEYS[1], all[index])
  end
end
return {string.format('%.17g', now), there}
