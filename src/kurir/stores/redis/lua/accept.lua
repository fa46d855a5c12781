-- Accepting drafts, for `submit` and for what follows a settlement.
local COALESCE, FORCE = 1, 2

local function wants(message, flag)
  return math.floor((message.flags or 0) / flag) % 2 == 1
end

-- Read these {bot, raw}, and load at once what will be asked of them: whether their ids are known, and their lanes.
local function foresee_drafts(drafts)
  local wanted = {}
  for _, draft in ipairs(drafts) do
    local bot, message = draft.bot, read_message(draft.raw)
    local list = wanted[bot] or {ids = {}, chats = {}, keys = {}}
    draft.message, wanted[bot] = message, list
    list.ids[#list.ids + 1], list.chats[#list.chats + 1] = message.id, message.chat
    list.keys[#list.keys + 1] = message.key
  end
  for bot, list in pairs(wanted) do
    local seqs = fetch(bot.k.i, list.ids)
    for index, id in ipairs(list.ids) do
      if not bot.by_id[id] then
        bot.by_id[id] = seqs[index] and tonumber(seqs[index])
      end
    end
    seqs = fetch(bot.k.k, list.keys)
    for index, key in ipairs(list.keys) do
      bot.by_key[key] = bot.by_key[key] or (seqs[index] and tonumber(seqs[index]))
    end
    foresee_chats(bot, list.chats)
  end
end

local function seq_by_id(bot, id)
  local seq = bot.by_id[id]
  if seq == nil then
    seq = tonumber(call('HGET', bot.k.i, id) or nil)
  end
  return seq
end

-- Whether all of these drafts, which were foreseen, may be kept: nil, or the key in question and the message that has it. Tells
-- how many of them are new, and notes who is known already.
local function refusal(drafts)
  local keys, ids, new = {}, {}, 0
  for _, draft in ipairs(drafts) do
    local bot, message = draft.bot, draft.message
    local name = bot.id .. ':' .. message.id
    if ids[name] or seq_by_id(bot, message.id) then
      draft.again = true
    elseif message.key then
      name = bot.id .. ':' .. message.key
      local first = keys[name]
      if not first then
        local seq = bot.by_key[message.key]
        first = seq and load_message(bot, seq) or message
        keys[name] = first
      end
      if first.digest ~= message.digest then
        return {'conflict', message.key, first.id}
      end
      if first ~= message then
        draft.known = true
      end
    end
    if not draft.again and not draft.known then
      ids[bot.id .. ':' .. message.id] = true
      new = new + 1
    end
  end
  return nil, new
end

-- The last waiting message of the lane that the new one may replace, and whether something stands behind it.
local function replaceable(bot, lane, message)
  local older, behind
  local list = about(bot, lane, message.target)
  for _, other in ipairs(list) do
    if other[1] ~= lane.fly and other[3] == message.prio and other[4] == message.target
      and (not older or other[2] > older[2]) then
      older = other
    end
  end
  for _, other in ipairs(list) do
    behind = behind or (older and other[2] > older[2])
  end
  return older and older[1], behind
end

-- A new message joins its lane, perhaps in the place of an older one. Answers that one's id.
local function wait(bot, lane, seq, message, now, day)
  local old, behind
  if message.target and wants(message, COALESCE) then
    old, behind = replaceable(bot, lane, message)
  end
  if not old then
    join(bot, lane, seq, message)
    stand(bot, lane, seq, message, message.due)
    rehead(bot, lane, now)
    return false
  end
  local older, standing = load_message(bot, old), look_at_standing(bot, old)
  local pos, was_head = pos_of(bot, old), lane.head == old
  local turn = math.min(lane.at or 0, now)
  standing = finish(bot, lane, old, older, CANCELLED, 'superseded', now, day)
  standing.by = message.id
  if not behind then
    load_standing(bot, seq).pos = pos
  end
  join(bot, lane, seq, message)
  stand(bot, lane, seq, message, message.due)
  rehead(bot, lane, now)
  if not behind and was_head and lane.head == seq then
    lane.at = turn
  end
  return older.id
end

-- What is answered for a message that is there already: its id, state, whether it is a duplicate, its number.
local function as_it_stands(bot, seq, duplicate)
  local state = state_of(bot, seq)
  if state == WAITING and flight_of(bot, seq) then
    state = 1
  end
  return {load_message(bot, seq).id, state, duplicate, seq}
end

-- Keep one draft, as number `seq`. Answers the number alone where nothing else is to be told, and whether it was used.
local function accept(draft, seq, now, day)
  local bot, message = draft.bot, draft.message
  if draft.again then
    return as_it_stands(bot, seq_by_id(bot, message.id), 0), false
  elseif draft.known then
    return as_it_stands(bot, bot.by_key[message.key], 1), false
  end
  local lane = lane_of(bot, message.chat, seq)
  if wants(message, FORCE) then
    lift(bot, lane)
  end
  bot.messages[seq], bot.standings[seq] = message, false
  put(bot, 'm', seq, message.raw)
  put(bot, 'i', message.id, seq)
  bot.by_id[message.id] = seq
  if message.key then
    put(bot, 'k', message.key, seq)
    bot.by_key[message.key] = seq
  end
  for _, file in ipairs(files_of(message)) do
    call('HINCRBY', bot.k.u, file, 1)
  end
  note(bot, 'n', seq, 1)
  count(bot, 'waiting', 1)
  lane.total = lane.total + 1
  local pos = next_pos(bot, seq)
  if pos ~= seq then
    load_standing(bot, seq).pos = pos
  end
  if lane.suppressed then
    touch(bot, lane)
    conclude(bot, seq, message, DEAD, 'suppressed: ' .. lane.suppressed, now, day)
    return {message.id, DEAD, 0, seq}, true
  end
  if message.expires then
    rank(bot, 'x', seq, message.expires)
  end
  local replaced = wait(bot, lane, seq, message, now, day)
  if replaced then
    return {message.id, WAITING, 0, seq, replaced}, true
  end
  return seq, true
end

-- The first of `n` new order numbers. In a cluster another node counts them, and the client has fetched them.
local function take_numbers(n, counter, fetched)
  if counter == '' then
    return fetched
  end
  return call('INCRBY', counter, n) - n + 1
end
