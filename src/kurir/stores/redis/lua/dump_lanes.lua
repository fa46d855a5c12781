-- needs: bots lanes blocks
-- KEYS: the bot's `b`. ARGV from 3: bot, from which number on, limit, how many numbers may be looked at. Answers where to go
-- on ('' when all was looked at) and the lanes in the order of their numbers: number, chat, until when it is held, why, since
-- when its head has its turn, why it is suppressed, since when.
local bot = bot_of(ARGV[3])
local from, limit, work = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

return through_blocks(bot.k.lnz, from, limit, work, function(ids)
  local raws = call('HMGET', bot.k.l, unpack(ids))
  return function(place)
    if raws[place] then
      local lane = read_lane(ids[place], raws[place])
      return {lane.id, lane.chat, exact(lane.chat_at), lane.why or false, lane.head and exact(lane.at) or '',
        lane.suppressed or false, lane.since and exact(lane.since) or ''}
    end
  end
end)
