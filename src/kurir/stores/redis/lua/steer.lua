-- needs: bots lanes messages accept
-- KEYS: the bot's `b`, and the counter (outside a cluster). ARGV from 3: counter or '', number fetched, channel, who, bot,
-- whether a chat is meant, chat, until, whether there is a reason, reason, extend.
local bot = bot_of(ARGV[7])
local till, why = tonumber(ARGV[10]), ARGV[11] == '1' and ARGV[12] or nil
register(bot)
if ARGV[8] == '1' then
  local lane = find_lane(bot, ARGV[9])
  if not lane then
    lane = lane_of(bot, ARGV[9], take_numbers(1, ARGV[3], tonumber(ARGV[4])))
  end
  lane.chat_at, lane.why = till, till ~= 0 and why or nil
  touch(bot, lane)
else
  local paused = tonumber(call('HGET', bot.k.b, 'paused') or nil) or 0
  if ARGV[13] ~= '1' or till > paused then
    call('HSET', bot.k.b, 'paused', exact(till))
    if why then
      call('HSET', bot.k.b, 'why', why)
    else
      call('HDEL', bot.k.b, 'why')
    end
  end
end
flush()
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return 1
