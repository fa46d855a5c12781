-- needs: bots
-- KEYS: the bot's `b`. ARGV from 3: bot. Answers its row, how many are in flight, since when its longest-ready lane could be
-- sending, and its days.
local bot = bot_of(ARGV[3])
local oldest
for prio = 0, 3 do
  local at = tonumber(call('ZRANGE', bot.k['r' .. prio], 0, 0, 'WITHSCORES')[2])
  if at and at < math.huge and (not oldest or at < oldest) then
    oldest = at
  end
end
return {call('HGETALL', bot.k.b), call('HLEN', bot.k.f), oldest and exact(oldest) or '', call('HGETALL', bot.k.y)}
