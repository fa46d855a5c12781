-- Files last used before a time are there no more; their uploads are debris, until their pieces are removed.
-- KEYS: used (sha256 -> when used last), coming (upload -> when begun), at (sha256 -> upload)
-- ARGV: before, sha256, ...
-- Answers how many went.
local gone = 0
for n = 2, #ARGV do
  local used = redis.call('ZSCORE', KEYS[1], ARGV[n])
  if used and tonumber(used) < tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[n])
    redis.call('ZADD', KEYS[2], '-inf', redis.call('HGET', KEYS[3], ARGV[n]))
    redis.call('HDEL', KEYS[3], ARGV[n])
    gone = gone + 1
  end
end
return gone
