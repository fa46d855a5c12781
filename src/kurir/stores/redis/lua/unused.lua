-- needs: bots
-- KEYS: the bot's `b`. ARGV from 3: bot, then files. Answers those that the bot's messages do not need.
local bot, unused = bot_of(ARGV[3]), {}
for index = 4, #ARGV do
  if call('HEXISTS', bot.k.u, ARGV[index]) == 0 then
    unused[#unused + 1] = ARGV[index]
  end
end
return unused
