-- needs: bots lanes
-- KEYS: the bot's `b`. ARGV from 3: bot. Answers former names of chats, each with that of today.
local bot = bot_of(ARGV[3])
local told = {}
for _, name in ipairs(call('HKEYS', bot.k.v)) do
  told[#told + 1], told[#told + 2] = name, today(bot, name)
end
return told
