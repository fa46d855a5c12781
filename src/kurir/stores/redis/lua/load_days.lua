-- needs: bots
-- KEYS: the bot's `b`. ARGV from 3: bot, then fields and counts.
local bot = bot_of(ARGV[3])
register(bot)
call('HSET', bot.k.y, unpack(ARGV, 4))
return 1
