-- KEYS: the counter of order numbers. ARGV: a number given out elsewhere. Those from now on come behind it.
if tonumber(ARGV[1]) > (tonumber(redis.call('GET', KEYS[1]) or nil) or 0) then
  redis.call('SET', KEYS[1], ARGV[1])
end
return 1
