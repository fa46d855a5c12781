-- needs: bots lanes messages matching
-- KEYS: the bots' `b`. ARGV from 3: bots, query (JSON), limit, from which number on ('' = the first), and how many numbers may
-- be looked at. Answers for each bot where to go on ('' when all was looked at) and what was found: number, chat of today,
-- whether it is in flight, as accepted, as it stands.
local query = cjson.decode(ARGV[4])
local limit, from, work = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local forward = query.forward
local step = forward and 1 or -1
local PIECE = 128

-- A search through one bot's messages.
local function search(bot)
  return {bot = bot, found = {}, test = tester(bot, query), from = from, work = work}
end

-- Look at these numbers in the order given. Answers the number with which the page was full.
local function look(search, seqs)
  local bot, found = search.bot, search.found
  local raws, stands = call('HMGET', bot.k.m, unpack(seqs)), nil
  for index, seq in ipairs(seqs) do
    if raws[index] then
      stands = stands or call('HMGET', bot.k.s, unpack(seqs))
      local chat, flying = search.test(seq, raws[index], stands[index])
      if chat then
        found[#found + 1] = {seq, chat, flying and 1 or 0, raws[index], stands[index]}
        if #found >= limit then
          return seq
        end
      end
    end
  end
end

-- Look at those that come into question, in their order; `rest`: where there are more of them.
local function look_at_listed(search, list, rest)
  local seqs = {}
  for _, seq in ipairs(list) do
    if not from or (seq - from) * step >= 0 then
      seqs[#seqs + 1] = seq
    end
  end
  table.sort(seqs, function(a, b) return (b - a) * step > 0 end)
  for first = 1, #seqs, PIECE do
    local full = look(search, {unpack(seqs, first, math.min(first + PIECE - 1, #seqs))})
    if full then
      return exact(full + step)
    end
  end
  return rest and exact(rest) or ''
end

-- Look at the numbers of a block, in pieces. Answers where to go on, if not behind it.
local function look_at_block(search, block)
  local first, last = block * BLOCK, block * BLOCK + BLOCK - 1
  local at = forward and math.max(first, search.from or first) or math.min(last, search.from or last)
  while at >= first and at <= last do
    local seqs = {}
    while #seqs < PIECE and at >= first and at <= last do
      seqs[#seqs + 1] = at
      at = at + step
    end
    search.work = search.work - #seqs
    local full = look(search, seqs)
    if full then
      return full + step
    elseif search.work <= 0 then
      return at
    end
  end
end

-- Look at all there are.
local function walk(search)
  local bound = from and math.floor(from / BLOCK)
  while true do
    local blocks
    if forward then
      blocks = call('ZRANGEBYSCORE', search.bot.k.nz, bound or '-inf', '+inf', 'LIMIT', 0, 8)
    else
      blocks = call('ZREVRANGEBYSCORE', search.bot.k.nz, bound or '+inf', '-inf', 'LIMIT', 0, 8)
    end
    if #blocks == 0 then
      return ''
    end
    for _, block in ipairs(blocks) do
      block = tonumber(block)
      local stop = look_at_block(search, block)
      if stop then
        return exact(stop)
      end
      bound, search.from = block + step, nil
    end
  end
end

return for_each_bot(function(bot)
  local search = search(bot)
  local list, rest = candidates(bot, query, from, work)
  local place = list and look_at_listed(search, list, rest) or walk(search)
  return {place, search.found}
end)
