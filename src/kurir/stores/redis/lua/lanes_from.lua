-- needs: bots lanes messages looks
-- KEYS: the bot's `b`. ARGV from 3: bot, only if waiting, only if suppressed, limit, from which number on, how many numbers
-- may be looked at. Answers where to go on ('' when all was looked at) and the lanes, in the order of their numbers.
local bot = bot_of(ARGV[3])
local waiting, suppressed = ARGV[4] == '1', ARGV[5] == '1'
local limit, from, work = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local PIECE, FEW = 128, 3000
local found = {}

local function look(ids)
  local raws = call('HMGET', bot.k.l, unpack(ids))
  for index, id in ipairs(ids) do
    if raws[index] then
      local lane = read_lane(id, raws[index])
      if is_meant(lane, waiting, suppressed) then
        found[#found + 1] = look_of(bot, lane)
        if #found >= limit then
          return id + 1
        end
      end
    end
  end
end

-- The lanes that come into question, if they are few.
local function candidates()
  local names = {'z'}
  if not suppressed then
    names = {'r0', 'r1', 'r2', 'r3', 'w'}
    if not waiting or call('HLEN', bot.k.f) > FEW then
      return nil
    end
  end
  local n, ids, seen = 0, {}, {}
  for _, name in ipairs(names) do
    n = n + call('ZCARD', bot.k[name])
  end
  if n > FEW then
    return nil
  end
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
  if not suppressed then
    for _, flight in ipairs(call('HVALS', bot.k.f)) do
      local _, lane = cmsgpack.unpack(flight)
      add(lane)
    end
  end
  table.sort(ids)
  return ids
end

local function look_at_block(block)
  local first, last = block * BLOCK, block * BLOCK + BLOCK - 1
  local at = math.max(first, from)
  while at <= last do
    local ids = {}
    for id = at, math.min(at + PIECE - 1, last) do
      ids[#ids + 1] = id
    end
    work, at = work - #ids, at + #ids
    local full = look(ids)
    if full then
      return full
    elseif work <= 0 then
      return at
    end
  end
end

local ids = candidates()
if ids then
  for first = 1, #ids, PIECE do
    local full = look({unpack(ids, first, math.min(first + PIECE - 1, #ids))})
    if full then
      return {exact(full), found}
    end
  end
  return {'', found}
end
local bound = math.floor(from / BLOCK)
while true do
  local blocks = call('ZRANGEBYSCORE', bot.k.lnz, bound, '+inf', 'LIMIT', 0, 8)
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
