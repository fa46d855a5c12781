-- needs: bots lanes messages accept
-- KEYS: the bot's `b`, and the counter (outside a cluster). ARGV from 3: counter or '', number fetched, channel, who, bot,
-- chat, whether it is suppressed from now on, why, now, day. Answers 1 where more waits than one step ends.
local bot = bot_of(ARGV[7])
local lane = find_lane(bot, ARGV[8])
if not lane then
  lane = lane_of(bot, ARGV[8], take_numbers(1, ARGV[3], tonumber(ARGV[4])))
end
local left = false
if ARGV[9] == '1' then
  left = suppress(bot, lane, ARGV[10], tonumber(ARGV[11]), ARGV[12])
else
  lift(bot, lane)
end
flush()
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return left and 1 or 0
