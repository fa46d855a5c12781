-- needs: bots lanes
-- KEYS: the bot's `b`. ARGV from 3: bot, from which number on, limit, how many numbers may be looked at. Answers where to go
-- on ('' when all was looked at) and the lanes in the order of their numbers: number, chat, until when it is held, why, since
-- when its head has its turn, why it is suppressed, since when.
local bot = bot_of(ARGV[3])
local from, limit, work = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local PIECE = 128
local found = {}

local function look_at_block(block)
  local at, last = math.max(block * BLOCK, from), block * BLOCK + BLOCK - 1
  while at <= last do
    local ids = {}
    for id = at, math.min(at + PIECE - 1, last) do
      ids[#ids + 1] = id
    end
    for index, raw in ipairs(call('HMGET', bot.k.l, unpack(ids))) do
      if raw then
        local lane = read_lane(ids[index], raw)
        found[#found + 1] = {lane.id, lane.chat, exact(lane.chat_at), lane.why or false, lane.head and exact(lane.at) or '',
          lane.suppressed or false, lane.since and exact(lane.since) or ''}
        if #found >= limit then
          return ids[index] + 1
        end
      end
    end
    work, at = work - #ids, at + #ids
    if work <= 0 then
      return at
    end
  end
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
