-- A write, whatever there is and however full the server is. WAIT and WAITAOF wait for what their connection wrote last: behind
-- this they wait for all that was written before, by whomever, also when the script in front found its work done already.
-- KEYS: a key for it
redis.call('DEL', KEYS[1]) -- after a write that may pass, all may
redis.call('SET', KEYS[1], 1)
