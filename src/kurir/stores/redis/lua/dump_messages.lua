-- needs: bots lanes messages
-- KEYS: the bot's `b`. ARGV from 3: bot, from which number on, limit, how many numbers may be looked at. Answers where to go
-- on ('' when all was looked at) and the messages in the order of their numbers: number, chat of today, whether it waits
-- without a place, the token it is in flight under, its place, as accepted, as it stands.
local bot = bot_of(ARGV[3])
local from, limit, work = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local PIECE = 128
local found = {}

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

local function look_at_block(block)
  local at, last = math.max(block * BLOCK, from), block * BLOCK + BLOCK - 1
  while at <= last do
    local seqs = {}
    for seq = at, math.min(at + PIECE - 1, last) do
      seqs[#seqs + 1] = seq
    end
    local raws, stands = call('HMGET', bot.k.m, unpack(seqs)), call('HMGET', bot.k.s, unpack(seqs))
    for index, seq in ipairs(seqs) do
      if raws[index] then
        found[#found + 1] = row_of(seq, raws[index], stands[index])
        if #found >= limit then
          return seq + 1
        end
      end
    end
    work, at = work - #seqs, at + #seqs
    if work <= 0 then
      return at
    end
  end
end

local bound = math.floor(from / BLOCK)
while true do
  local blocks = call('ZRANGEBYSCORE', bot.k.nz, bound, '+inf', 'LIMIT', 0, 8)
  if #blocks == 0 then
    return {'', found}
  end
  for _, block in ipairs(blocks) do
    local stop = look_at_block(tonumber(block))
    if stop then
      return {exact(stop), found}
    end
    bound = tonumber(block) + 1
  end
end
