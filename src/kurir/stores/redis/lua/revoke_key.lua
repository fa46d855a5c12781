-- KEYS: the hash of API keys. ARGV: id, the key as it is to be told from now on, call.
-- Answers 1, or 0 where there is no such key, or it was revoked before (by another call than this).
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then
  return 0
end
local order, value, made, revoked, by = cmsgpack.unpack(known)
if revoked then
  return by == ARGV[3] and 1 or 0
end
redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(order, value, made, tonumber(ARGV[2]), ARGV[3]))
return 1
