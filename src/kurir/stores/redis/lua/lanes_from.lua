-- needs: bots lanes messages looks
-- KEYS: the bots' `b`. ARGV from 3: bots, only if waiting, only if suppressed, limit, from which number on, how many numbers
-- may be looked at. Answers for each bot where to go on ('' when all was looked at) and the lanes, in the order of their
-- numbers.
local waiting, suppressed = ARGV[4] == '1', ARGV[5] == '1'
local limit, from, work = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local PIECE, FEW = 128, 3000

-- Look at these numbers. Answers where to go on once the page is full.
local function look(search, ids)
  local raws = call('HMGET', search.bot.k.l, unpack(ids))
  for index, id in ipairs(ids) do
    local lane = raws[index] and read_lane(id, raws[index])
    if lane and is_meant(lane, waiting, suppressed) then
      search.found[#search.found + 1] = look_of(search.bot, lane)
      if #search.found >= limit then
        return id + 1
      end
    end
  end
end

-- The agendas in which all lanes that are meant stand, if together they are short.
local function agendas(bot)
  local names, n = {'z'}, 0
  if not suppressed then
    names = {'r0', 'r1', 'r2', 'r3', 'w'}
    n = waiting and call('HLEN', bot.k.f) or FEW + 1
  end
  for _, name in ipairs(names) do
    n = n + call('ZCARD', bot.k[name])
  end
  return n <= FEW and names or nil
end

-- The numbers of all lanes in these agendas, or in flight.
local function listed(bot, names)
  local ids, seen = {}, {}
  local function add(id)
    if id >= from and not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
  for _, name in ipairs(names) do
    for _, member in ipairs(call('ZRANGE', bot.k[name], 0, -1)) do
      add(tonumber(member))
    end
  end
  for _, flight in ipairs(suppressed and {} or call('HVALS', bot.k.f)) do
    local _, lane = cmsgpack.unpack(flight)
    add(lane)
  end
  table.sort(ids)
  return ids
end

local function look_at_listed(search, ids)
  for first = 1, #ids, PIECE do
    local full = look(search, {unpack(ids, first, math.min(first + PIECE - 1, #ids))})
    if full then
      return exact(full)
    end
  end
  return ''
end

-- Look at the numbers of a block, in pieces. Answers where to go on, if not behind it.
local function look_at_block(search, block)
  local at, last = math.max(block * BLOCK, from), block * BLOCK + BLOCK - 1
  while at <= last do
    local ids = {}
    for id = at, math.min(at + PIECE - 1, last) do
      ids[#ids + 1] = id
    end
    search.work, at = search.work - #ids, at + #ids
    local full = look(search, ids)
    if full then
      return full
    elseif search.work <= 0 then
      return at
    end
  end
end

local function walk(search)
  local bound = math.floor(from / BLOCK)
  while true do
    local blocks = call('ZRANGEBYSCORE', search.bot.k.lnz, bound, '+inf', 'LIMIT', 0, 8)
    if #blocks == 0 then
      return ''
    end
    for _, block in ipairs(blocks) do
      local stop = look_at_block(search, tonumber(block))
      if stop then
        return exact(stop)
      end
      bound = tonumber(block) + 1
    end
  end
end

return for_each_bot(function(bot)
  local search = {bot = bot, found = {}, work = work}
  local names = agendas(bot)
  local place = names and look_at_listed(search, listed(bot, names)) or walk(search)
  return {place, search.found}
end)
