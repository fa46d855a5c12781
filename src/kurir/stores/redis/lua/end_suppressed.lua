-- needs: bots lanes messages
-- KEYS: the bot's `b`. ARGV from 3: bot, chat, now, day. Ends what waits for a suppressed chat, so much in one step. Answers 1
-- where something is left.
local bot = bot_of(ARGV[3])
local lane = find_lane(bot, ARGV[4])
local left = false
if lane and lane.suppressed then
  despite_full(bot)
  left = end_suppressed(bot, lane, tonumber(ARGV[5]), ARGV[6])
  flush()
end
return left and 1 or 0
