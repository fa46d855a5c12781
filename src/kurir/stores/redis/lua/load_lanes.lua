-- needs: bots lanes messages
-- KEYS: the bot's `b`. ARGV from 3: bot, then lanes: chat, the number it gets if it is new, and packed until when it is held,
-- why, since when its head has its turn, why it is suppressed, since when.
local bot = bot_of(ARGV[3])
for index = 4, #ARGV, 3 do
  local lane = lane_of(bot, ARGV[index], tonumber(ARGV[index + 1]))
  local chat_at, why, at, suppressed, since = cmsgpack.unpack(ARGV[index + 2])
  lift(bot, lane)
  lane.chat_at, lane.why, lane.suppressed, lane.since = chat_at, why, suppressed, since
  lane.at = at or (lane.first and lane.at or nil)
  if suppressed then
    rank(bot, 'z', padded(lane.id), since)
  end
  touch(bot, lane)
end
flush()
return 1
