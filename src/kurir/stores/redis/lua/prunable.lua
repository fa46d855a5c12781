-- needs: bots
-- KEYS: the bots' `b`. ARGV from 3: bots, ended before, the same for those with a key, limit, suppressed before.
-- Answers for each number and end of what may be pruned, oldest end first, and how many suppressions are to be lifted.
local function prunable_of(bot)
  local found = {}
  for index, name in ipairs({'e', 'ek'}) do
    local before, limit = '(' .. ARGV[3 + index], tonumber(ARGV[6])
    for _, item in ipairs(call('ZRANGEBYSCORE', bot.k[name], '-inf', before, 'WITHSCORES', 'LIMIT', 0, limit)) do
      found[#found + 1] = item
    end
  end
  return {found, call('ZCOUNT', bot.k.z, '-inf', '(' .. ARGV[7])}
end

return for_each_bot(prunable_of)
