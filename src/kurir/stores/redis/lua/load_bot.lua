-- needs: bots
-- KEYS: the bot's `b`. ARGV from 3: bot, token, paused until, whether there is a reason, reason, settles refused.
local bot = bot_of(ARGV[3])
register(bot)
local token = tonumber(call('HGET', bot.k.b, 'token') or nil) or 0
call('HSET', bot.k.b, 'token', exact(math.max(token, tonumber(ARGV[4]))), 'paused', ARGV[5], 'fenced', ARGV[8])
if ARGV[6] == '1' then
  call('HSET', bot.k.b, 'why', ARGV[7])
else
  call('HDEL', bot.k.b, 'why')
end
return 1
