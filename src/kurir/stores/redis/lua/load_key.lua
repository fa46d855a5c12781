-- KEYS: the hash of API keys, the hash of their digests. ARGV: id, digest, the key, when it was revoked or ''. Keeps the key
-- in the place of its older copy, if there is one.
local known = redis.call('HGET', KEYS[1], ARGV[1])
local order = known and cmsgpack.unpack(known) or redis.call('HLEN', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(order, ARGV[3], '', tonumber(ARGV[4])))
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
return 1
