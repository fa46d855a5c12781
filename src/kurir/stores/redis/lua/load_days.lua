-- needs: bots
-- KEYS: the bot's `b`. ARGV from 3: bot, then fields and counts.
local bot = bot_of(ARGV[3])
register(bot)
call('HSET', bot.k.y, unpack(ARGV, 4))
for index = 4, #ARGV, 2 do
  local day = string.sub(ARGV[index], 1, 10)
  call('ZADD', bot.k.yz, (string.gsub(day, '-', '')), day)
end
return 1
