-- KEYS: the hash of API keys, the hash of their digests. ARGV: id, digest, the key, call, when it was revoked or ''. Answers 1, or 0 where the id or the digest
-- is taken. The same key once more is the same call, of which the answer was lost.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then
  local _, value, call = cmsgpack.unpack(known)
  return value == ARGV[3] and call == ARGV[4] and 1 or 0
elseif redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(redis.call('HLEN', KEYS[1]), ARGV[3], ARGV[4], tonumber(ARGV[5])))
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
return 1
