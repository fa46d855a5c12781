-- needs: bots lanes messages matching
-- KEYS: the bot's `b`. ARGV from 3: bot, query (JSON), limit, from which number on ('' = the first), and how many numbers
-- may be looked at. Answers where to go on ('' when all was looked at) and what was found: number, chat of today, whether
-- it is in flight, as accepted, as it stands.
local bot = bot_of(ARGV[3])
local query = cjson.decode(ARGV[4])
local limit, from, work = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local PIECE = 128
local forward = query.forward
local found = {}
local test = tester(bot, query)

-- Look at these numbers in the order given. Answers the number after which the page was full.
local function look(seqs)
  local raws, stands = call('HMGET', bot.k.m, unpack(seqs)), nil
  for index, seq in ipairs(seqs) do
    if raws[index] then
      stands = stands or call('HMGET', bot.k.s, unpack(seqs))
      local chat, flying = test(seq, raws[index], stands[index])
      if chat then
        found[#found + 1] = {seq, chat, flying and 1 or 0, raws[index], stands[index]}
        if #found >= limit then
          return seq
        end
      end
    end
  end
end

-- Those that come into question, if they can be told without walking.
local function look_at_listed(list)
  local seqs = {}
  for _, seq in ipairs(list) do
    if not from or (forward and seq >= from) or (not forward and seq <= from) then
      seqs[#seqs + 1] = seq
    end
  end
  table.sort(seqs, forward and function(a, b) return a < b end or function(a, b) return a > b end)
  for first = 1, #seqs, PIECE do
    local full = look({unpack(seqs, first, math.min(first + PIECE - 1, #seqs))})
    if full then
      return exact(full + (forward and 1 or -1))
    end
  end
  return ''
end

-- The numbers of a block from `from` on, in pieces.
local function look_at_block(block)
  local first, last = block * BLOCK, block * BLOCK + BLOCK - 1
  local at = forward and math.max(first, from or first) or math.min(last, from or last)
  while at >= first and at <= last do
    local seqs = {}
    for _ = 1, PIECE do
      if at >= first and at <= last then
        seqs[#seqs + 1] = at
        at = at + (forward and 1 or -1)
      end
    end
    work = work - #seqs
    local full = look(seqs)
    if full then
      return full + (forward and 1 or -1)
    elseif work <= 0 then
      return at
    end
  end
end

local function walk()
  local bound = from and math.floor(from / BLOCK)
  while true do
    local blocks
    if forward then
      blocks = call('ZRANGEBYSCORE', bot.k.nz, bound or '-inf', '+inf', 'LIMIT', 0, 8)
    else
      blocks = call('ZREVRANGEBYSCORE', bot.k.nz, bound or '+inf', '-inf', 'LIMIT', 0, 8)
    end
    if #blocks == 0 then
      return ''
    end
    for _, block in ipairs(blocks) do
      block = tonumber(block)
      local stop = look_at_block(block)
      if stop then
        return exact(stop)
      end
      bound, from = block + (forward and 1 or -1), nil
    end
  end
end

local listed = candidates(bot, query)
return {listed and look_at_listed(listed) or walk(), found}
