-- A chat gets another id.

-- The sorted set `kind` of one lane goes over into that of another, whatever its length, in one step of the server's.
local function pour(bot, lane, into, kind)
  local from, to = bot.k[kind .. lane.id], bot.k[kind .. into.id]
  call('ZUNIONSTORE', to, 2, to, from)
  call('DEL', from)
  local first = call('ZRANGE', to, 0, 0, 'WITHSCORES')
  return tonumber(first[1]), tonumber(first[2])
end

local function merge_placed(bot, lane, into)
  if lane.q then
    if into.first and not into.q then
      call('ZADD', bot.k['q:' .. into.id], into.score, into.first)
    end
    into.first, into.score = pour(bot, lane, into, 'q:')
    into.q = true
  elseif lane.first then
    place_in(bot, into, lane.first, lane.score)
  end
end

local function merge_later(bot, lane, into)
  if lane.d then
    if into.later and not into.d then
      call('ZADD', bot.k['d:' .. into.id], into.due, padded(into.later))
    end
    into.later, into.due = pour(bot, lane, into, 'd:')
    into.d = true
  elseif lane.later then
    later_in(bot, into, lane.later, lane.due)
  end
end

-- What waits and has a target is noted under the other lane.
local function merge_targets(bot, lane, into)
  local from, to = exact(lane.id) .. ':', exact(into.id) .. ':'
  local entries = call('ZRANGEBYLEX', bot.k.g, '[' .. from, '(' .. exact(lane.id) .. ';')
  local moved = {}
  for index, member in ipairs(entries) do
    moved[2 * index - 1], moved[2 * index] = 0, to .. string.sub(member, #from + 1)
  end
  many('ZREM', bot.k.g, entries, 1)
  many('ZADD', bot.k.g, moved, 2)
end

-- All that waits in `lane`, of which nothing is in flight, goes over to `into`, in its old places.
local function merge(bot, lane, into, now)
  merge_placed(bot, lane, into)
  merge_later(bot, lane, into)
  merge_targets(bot, lane, into)
  if lane.n > 0 and into.n > 0 then
    count(bot, 'lanes', -1)
  end
  into.n, into.total = into.n + lane.n, into.total + lane.total
  quiet(into, lane.chat_at, lane.why)
  rehead(bot, into, now)
  forget_lane(bot, lane)
end

-- The lane's chat is called `chat` from now on; a lane that has that name takes this one in.
local function move(bot, lane, chat, now)
  local old, other, new = lane.chat, find_lane(bot, chat)
  if new == old then
    return
  end
  call('HSET', bot.k.v, old, new)
  bot.aliased = true
  unname_lane(bot, old)
  if other then
    merge(bot, lane, other, now)
  else
    name_lane(bot, lane, new)
  end
end
