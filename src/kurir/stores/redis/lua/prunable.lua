-- needs: bots
-- KEYS: the bot's `b`. ARGV from 3: bot, ended before, the same for those with a key, limit, suppressed before.
-- Answers number and end of what may be pruned, oldest end first, and whether a suppression is old enough to be lifted.
local bot = bot_of(ARGV[3])
local found = {}
for index, name in ipairs({'e', 'ek'}) do
  local list = call('ZRANGEBYSCORE', bot.k[name], '-inf', '(' .. ARGV[3 + index], 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[6]))
  for _, item in ipairs(list) do
    found[#found + 1] = item
  end
end
return {found, call('ZCOUNT', bot.k.z, '-inf', '(' .. ARGV[7])}
