-- needs: bots lanes messages blocks
-- KEYS: the bot's `b`. ARGV from 3: bot, from which number on, limit, how many numbers may be looked at. Answers where to go
-- on ('' when all was looked at) and the messages in the order of their numbers: number, chat of today, whether it waits
-- without a place, the token it is in flight under, its place, as accepted, as it stands.
local bot = bot_of(ARGV[3])
local from, limit, work = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function row_of(seq, raw, standing)
  local message = read_message(raw)
  bot.messages[seq], bot.standings[seq] = message, standing and read_standing(standing) or false
  local flight = call('HGET', bot.k.f, seq)
  local token = flight and cmsgpack.unpack(flight) or ''
  local later = 0
  if not flight and state_of(bot, seq) == WAITING and is_later(bot, lane_by_message(bot, seq), seq) then
    later = 1
  end
  return {seq, today(bot, message.chat), later, token, exact(pos_of(bot, seq)), raw, standing}
end

return through_blocks(bot.k.nz, from, limit, work, function(seqs)
  local raws, stands = call('HMGET', bot.k.m, unpack(seqs)), call('HMGET', bot.k.s, unpack(seqs))
  return function(place)
    return raws[place] and row_of(seqs[place], raws[place], stands[place])
  end
end)
