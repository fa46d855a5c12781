-- needs: bots lanes messages accept
-- KEYS: the bot's `b`, and the counter (outside a cluster). ARGV from 3: counter or '', number fetched, channel, who, bot,
-- chat, whether it is suppressed from now on, why, now, day.
local bot = bot_of(ARGV[7])
local lane = find_lane(bot, ARGV[8])
if not lane then
  lane = lane_of(bot, ARGV[8], take_numbers(1, ARGV[3], tonumber(ARGV[4])))
end
if ARGV[9] == '1' then
  suppress(bot, lane, ARGV[10], tonumber(ARGV[11]), ARGV[12])
else
  lift(bot, lane)
end
flush()
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return 1
