-- needs: bots lanes messages looks
-- KEYS: the bot's `b`. ARGV from 3: bot, chat, only if waiting, only if suppressed.
-- Answers the lane, or the name that its chat has today, or nothing.
local bot = bot_of(ARGV[3])
local waiting, suppressed = ARGV[5] == '1', ARGV[6] == '1'
local lane, name = find_lane(bot, ARGV[4])
if name ~= ARGV[4] then
  return not waiting and not suppressed and name or false
elseif lane and is_meant(lane, waiting, suppressed) then
  return look_of(bot, lane)
end
return false
