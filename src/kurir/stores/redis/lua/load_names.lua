-- needs: bots lanes messages moves
-- KEYS: the bot's `b`. ARGV from 3: bot, then chats: a former name, and the name of today. A chat that was loaded under its
-- former name goes along.
local bot = bot_of(ARGV[3])
register(bot)
for index = 4, #ARGV, 2 do
  local old, new = ARGV[index], ARGV[index + 1]
  local lane = find_lane(bot, old)
  if lane and lane.chat == old then
    local seq = lane.fly
    if seq then
      land(bot, lane, seq)
      stand(bot, lane, seq, load_message(bot, seq))
      rehead(bot, lane, lane.at or 0)
    end
    move(bot, lane, new, lane.at or 0)
  else
    call('HSET', bot.k.v, old, new)
    bot.aliased = true
  end
end
flush()
return 1
