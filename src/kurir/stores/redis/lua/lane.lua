-- needs: bots lanes messages looks
-- KEYS: the bots' `b`. ARGV from 3: bots, chat, only if waiting, only if suppressed.
-- Answers for each the lane, or the name that its chat has today, or nothing.
local waiting, suppressed = ARGV[5] == '1', ARGV[6] == '1'

return for_each_bot(function(bot)
  local lane, name = find_lane(bot, ARGV[4])
  if name ~= ARGV[4] then
    return not waiting and not suppressed and name or false
  end
  return lane and is_meant(lane, waiting, suppressed) and look_of(bot, lane) or false
end)
