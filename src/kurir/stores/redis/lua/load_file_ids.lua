-- needs: bots
-- KEYS: the bot's `b`. ARGV from 3: bot, then files: SHA-256, kind, what Telegram calls it.
local bot = bot_of(ARGV[3])
register(bot)
for index = 4, #ARGV, 3 do
  local raw = call('HGET', bot.k.o, ARGV[index])
  local known = raw and cmsgpack.unpack(raw) or {}
  known[ARGV[index + 1]] = ARGV[index + 2]
  call('HSET', bot.k.o, ARGV[index], cmsgpack.pack(known))
end
return 1
