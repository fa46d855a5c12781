-- All pieces of a file are written: from now on it is there.
-- KEYS: used (sha256 -> when used last), coming (upload -> when begun), at (sha256 -> upload)
-- ARGV: sha256, upload, now
-- Answers 1; 0 if somebody else's upload came first; -1 if this one was swept meanwhile.
if redis.call('HGET', KEYS[3], ARGV[1]) == ARGV[2] then
  return 1 -- the same call once more
end
if not redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  return -1
end
local used = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not used or tonumber(used) < tonumber(ARGV[3]) then
  redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
if used then
  return 0
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
return 1
