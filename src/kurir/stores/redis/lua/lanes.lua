-- Lanes. A lane with one message that holds its place names it (`first`), and has a zset of its own (`q`) only from the
-- second on; likewise for messages for later (`later`, `d`). In flight is `fly`; it is in neither. `head` is whose turn it
-- is: `first`, unless something is in flight; it came to its turn at `at`, or is due then.
local TOP = 2 ^ 41 -- a place is priority * TOP + position: exact to 1/1024

local function shelves(lane)
  if lane.fly then
    return nil, nil, nil
  end
  local prio, at, wake
  if lane.first then
    prio, at = math.floor(lane.score / TOP), math.max(lane.chat_at, lane.at)
  end
  if lane.later then
    wake = math.max(lane.chat_at, lane.due)
  end
  return prio, at, wake
end

local function read_lane(id, raw)
  local chat, n, total, first, score, at, fly, chat_at, later, due, why, suppressed, since, q, d = cmsgpack.unpack(raw)
  return {id = id, chat = chat, n = n, total = total, first = first or nil, score = score or nil, at = at or nil,
    fly = fly or nil, later = later or nil, due = due or nil, chat_at = chat_at or 0, why = why or nil,
    suppressed = suppressed or nil, since = since or nil, q = q or nil, d = d or nil,
    head = not fly and first or nil, dirty = nil, old_prio = nil, old_at = nil, old_wake = nil}
end

-- Most lanes have a head, or something in flight, and nothing else.
local function write_lane(lane)
  local first, score, at, fly = lane.first or false, lane.score or false, lane.at or false, lane.fly or false
  if lane.later or lane.why or lane.suppressed or lane.since or lane.q then
    return packed({lane.chat, lane.n, lane.total, first, score, at, fly, lane.chat_at, lane.later or false, lane.due or false,
      lane.why or false, lane.suppressed or false, lane.since or false, lane.q or false, lane.d or false})
  elseif lane.chat_at ~= 0 then
    return packed({lane.chat, lane.n, lane.total, first, score, at, fly, lane.chat_at})
  end
  return packed({lane.chat, lane.n, lane.total, first, score, at, fly})
end

local function load_lane(bot, id)
  local lane = bot.lanes[id]
  if lane == nil then
    local raw = call('HGET', bot.k.l, id)
    if not raw then
      return nil
    end
    lane = read_lane(id, raw)
    lane.old_prio, lane.old_at, lane.old_wake = shelves(lane)
    bot.lanes[id] = lane
    bot.chats[lane.chat] = id
  end
  return lane
end

-- Load many lanes at once, by their numbers.
local function foresee_lanes(bot, ids)
  local raws = fetch(bot.k.l, ids)
  for index, id in ipairs(ids) do
    if raws[index] and not bot.lanes[id] then
      local lane = read_lane(id, raws[index])
      lane.old_prio, lane.old_at, lane.old_wake = shelves(lane)
      bot.lanes[id] = lane
      bot.chats[lane.chat] = id
    end
  end
end

local function touch(bot, lane)
  if not lane.dirty then
    lane.dirty = true
    bot.dirty[#bot.dirty + 1] = lane
  end
end

-- What the chat is called today.
local function today(bot, chat)
  if bot.aliased == nil then
    bot.aliased = call('EXISTS', bot.k.v) == 1
  end
  while bot.aliased do
    local name = call('HGET', bot.k.v, chat)
    if not name then
      break
    end
    chat = name
  end
  return chat
end

local function find_lane(bot, chat)
  chat = today(bot, chat)
  local id = bot.chats[chat]
  if id == nil then
    id = tonumber(call('HGET', bot.k.c, chat) or nil)
  end
  return id and load_lane(bot, id) or nil, chat
end

-- Load the lanes of many chats at once, as far as none of them has moved.
local function foresee_chats(bot, chats)
  local asked, ids = {}, {}
  for _, chat in ipairs(chats) do
    if bot.chats[chat] == nil then
      bot.chats[chat] = false
      asked[#asked + 1] = chat
    end
  end
  local known = fetch(bot.k.c, asked)
  for index, chat in ipairs(asked) do
    local id = known[index] and tonumber(known[index])
    if id then
      bot.chats[chat] = id
      ids[#ids + 1] = id
    end
  end
  foresee_lanes(bot, ids)
end

local function name_lane(bot, lane, chat)
  lane.chat = chat
  bot.chats[chat] = lane.id
  put(bot, 'c', chat, lane.id)
  touch(bot, lane)
end

local function unname_lane(bot, chat)
  bot.chats[chat] = false
  put(bot, 'c', chat)
end

-- The chat's lane; if there is none it comes into being, with a number that nobody else has.
local function lane_of(bot, chat, number)
  local lane, name = find_lane(bot, chat)
  if not lane then
    register(bot)
    lane = {id = number, n = 0, total = 0, chat_at = 0, chat = name, first = nil, score = nil, at = nil, head = nil,
      dirty = nil, old_prio = nil, old_at = nil}
    bot.lanes[number] = lane
    name_lane(bot, lane, name)
    note(bot, 'ln', number, 1)
  end
  return lane
end

local function forget_lane(bot, lane)
  lane.gone, lane.first, lane.later, lane.fly = true, nil, nil, nil
  note(bot, 'ln', lane.id, -1)
  touch(bot, lane)
end

-- The chat hears nothing before `till`, if that is later than what holds already.
local function quiet(lane, till, why)
  if till > lane.chat_at then
    lane.chat_at, lane.why = till, why
  end
end

local function place_in(bot, lane, seq, score)
  if lane.q then
    call('ZADD', bot.k['q:' .. lane.id], score, seq)
  elseif lane.first then
    call('ZADD', bot.k['q:' .. lane.id], lane.score, lane.first, score, seq)
    lane.q = true
  end
  if not lane.first or score < lane.score then
    lane.first, lane.score = seq, score
  end
end

local function unplace(bot, lane, seq)
  if lane.q then
    local key = bot.k['q:' .. lane.id]
    call('ZREM', key, seq)
    if lane.first == seq then
      local best = call('ZRANGE', key, 0, 0, 'WITHSCORES')
      lane.first, lane.score = tonumber(best[1]), tonumber(best[2])
      lane.q = lane.first and true or nil
    end
  elseif lane.first == seq then
    lane.first, lane.score = nil, nil
  end
end

local function later_in(bot, lane, seq, due)
  call('ZADD', bot.k.t, due, padded(seq))
  if lane.d then
    call('ZADD', bot.k['d:' .. lane.id], due, padded(seq))
  elseif lane.later then
    call('ZADD', bot.k['d:' .. lane.id], lane.due, padded(lane.later), due, padded(seq))
    lane.d = true
  end
  if not lane.later or due < lane.due then
    lane.later, lane.due = seq, due
  end
end

local function unlater(bot, lane, seq)
  call('ZREM', bot.k.t, padded(seq))
  if lane.d then
    local key = bot.k['d:' .. lane.id]
    call('ZREM', key, padded(seq))
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    lane.later, lane.due = tonumber(first[1]), tonumber(first[2])
    lane.d = lane.later and true or nil
  elseif lane.later == seq then
    lane.later, lane.due = nil, nil
  end
end

local function is_later(bot, lane, seq)
  if lane.d then
    return call('ZSCORE', bot.k['d:' .. lane.id], padded(seq)) and true or false
  end
  return lane.later == seq
end

-- What waits in a lane and is not in flight.
local function waiting_in(bot, lane)
  local placed, later = {lane.first}, {lane.later}
  if lane.q then
    placed = call('ZRANGE', bot.k['q:' .. lane.id], 0, -1)
  end
  if lane.d then
    later = call('ZRANGE', bot.k['d:' .. lane.id], 0, -1)
  end
  return placed, later
end

-- The last `most` of what waits in a lane and is not in flight, the last one first.
local function last_waiting_in(bot, lane, most)
  local found = {}
  for _, it in ipairs({{lane.d, 'd:', lane.later}, {lane.q, 'q:', lane.first}}) do
    local list, room = {it[3]}, most - #found
    if it[1] and room > 0 then
      list = call('ZREVRANGE', bot.k[it[2] .. lane.id], 0, room - 1)
    end
    for _, seq in ipairs(list) do
      if #found < most then
        found[#found + 1] = tonumber(seq)
      end
    end
  end
  return found
end

-- Put the lane where claims look for it.
local function shelve(bot, lane)
  local prio, at, wake = shelves(lane)
  local member = padded(lane.id)
  if lane.old_prio and lane.old_prio ~= prio then
    rank(bot, 'r' .. lane.old_prio, member)
  end
  if prio and (prio ~= lane.old_prio or at ~= lane.old_at) then
    rank(bot, 'r' .. prio, member, at)
  end
  if wake ~= lane.old_wake then
    rank(bot, 'w', member, wake)
  end
  lane.old_prio, lane.old_at, lane.old_wake = prio, at, wake
end

-- Write what became of the lanes.
local function flush_lanes(bot)
  for _, lane in ipairs(bot.dirty) do
    shelve(bot, lane)
    lane.dirty = nil
    if lane.gone then
      rank(bot, 'z', padded(lane.id))
    end
    put(bot, 'l', lane.id, not lane.gone and write_lane(lane) or nil)
  end
  bot.dirty = {}
  flush_zsets(bot)
end
