-- A file is about to be written, unless it is there already: then it is marked as used.
-- KEYS: used (sha256 -> when used last), coming (upload -> when begun)
-- ARGV: sha256, upload, now
-- Answers 1 if the file is there, else 0.
local used = redis.call('ZSCORE', KEYS[1], ARGV[1])
if used then
  if tonumber(used) < tonumber(ARGV[3]) then
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
  end
  return 1
end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
return 0
