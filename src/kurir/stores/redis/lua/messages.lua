-- Messages: as accepted (`load_message`), as they stand (`load_standing`), how they join a lane, leave it, and end.
local MOST_ENDED = 1000 -- messages of a suppressed chat that end in one step
local NAMES = {[0] = 'waiting', [2] = 'delivered', [3] = 'dead', [4] = 'cancelled', [5] = 'expired'}

local function read_message(raw)
  local _, id, chat, method, prio, accepted, due, expires, key, digest, target, flags, files = cmsgpack.unpack_limit(raw, 12)
  return {raw = raw, id = id, chat = chat, method = method, prio = prio, accepted = accepted, due = due, expires = expires,
    key = key, digest = digest, target = target, flags = flags, files = files}
end

local function load_message(bot, seq)
  local message = bot.messages[seq]
  if message == nil then
    local raw = call('HGET', bot.k.m, seq)
    if not raw then
      return nil
    end
    message = read_message(raw)
    bot.messages[seq] = message
  end
  return message
end

local function read_standing(raw)
  local state, pos, due, ended, reason, tries, doubts, crashes, calls, by, requeued, result, log, mark = cmsgpack.unpack(raw)
  return {raw = raw, state = state, pos = pos or nil, due = due or nil, ended = ended or nil, reason = reason or nil,
    tries = tries, doubts = doubts, crashes = crashes, calls = calls, by = by or nil, requeued = requeued or nil,
    result = result or nil, log = log or nil, mark = mark or nil}
end

-- How the message stands; nil for one that waits untouched.
local function look_at_standing(bot, seq)
  local standing = bot.standings[seq]
  if standing == nil then
    local raw = call('HGET', bot.k.s, seq)
    standing = raw and read_standing(raw) or false
    bot.standings[seq] = standing
  end
  return standing or nil
end

-- The same, to be changed.
local function load_standing(bot, seq)
  local standing = look_at_standing(bot, seq)
  if not standing then
    local message = load_message(bot, seq)
    standing = {state = WAITING, due = message.due, tries = 0, doubts = 0, crashes = 0, calls = 0, pos = nil, ended = nil,
      reason = nil, by = nil, requeued = nil, result = nil, log = nil, mark = nil}
    bot.standings[seq] = standing
  end
  bot.changed[seq] = standing
  return standing
end

-- Load many messages at once, and how they stand.
local function foresee_messages(bot, seqs)
  local raws, standings = fetch(bot.k.m, seqs), fetch(bot.k.s, seqs)
  for index, seq in ipairs(seqs) do
    if raws[index] and bot.messages[seq] == nil then
      bot.messages[seq] = read_message(raws[index])
      bot.standings[seq] = standings[index] and read_standing(standings[index])
    end
  end
end

-- What is in flight, packed; nil where the message is not.
local function flight_of(bot, seq)
  local changed = bot.hashes.f and bot.hashes.f[seq]
  if changed == nil then
    changed = bot.flights[seq]
  end
  if changed == nil then
    changed = call('HGET', bot.k.f, seq)
    bot.flights[seq] = changed
  end
  return changed or nil
end

local function state_of(bot, seq)
  local standing = look_at_standing(bot, seq)
  return standing and standing.state or WAITING
end

local function pos_of(bot, seq)
  local standing = look_at_standing(bot, seq)
  return standing and standing.pos or seq
end

-- The next place at the bot: the number of the message itself, unless a greater one was given out before.
local function next_pos(bot, seq)
  local last = bot.pos
  if not last then
    last = tonumber(call('HGET', bot.k.b, 'pos') or nil) or 0
  end
  bot.pos = seq and seq > last and seq or last + 1 / 1024
  return bot.pos
end

local function lane_by_message(bot, seq)
  return find_lane(bot, load_message(bot, seq).chat)
end

-- ---------------------------------------------------------------- what waits for the same message of Telegram's


-- The message id in `target`; all of one lane and message id stand together in `g`, in the order of their places.
local function subject(lane, target)
  return exact(lane.id) .. ':' .. (string.match(target, '^(.*):[^:]*$') or '') .. '\0'
end

local function entry(bot, lane, seq, message)
  local place = string.format('%024.10f', pos_of(bot, seq))
  return subject(lane, message.target) .. table.concat({place, exact(seq), message.prio, message.target}, '\0')
end

-- What waits in the lane for the same message of Telegram's: {number, place, priority, target}, in their order.
local function about(bot, lane, target)
  local from, list = subject(lane, target), {}
  local till = string.sub(from, 1, -2) .. '\1'
  for _, member in ipairs(call('ZRANGEBYLEX', bot.k.g, '[' .. from, '(' .. till)) do
    local place, seq, prio, its = string.match(string.sub(member, #from + 1), '^([%d.]+)%z(%d+)%z(%d)%z(.*)$')
    list[#list + 1] = {tonumber(seq), tonumber(place), tonumber(prio), its}
  end
  return list
end

-- ---------------------------------------------------------------- joining and leaving a lane

-- The lane's head is looked for again. A new one came to its turn `now`, or when it is due.
local function rehead(bot, lane, now)
  local head = not lane.fly and lane.first or nil
  if head ~= lane.head then
    lane.head, lane.at = head, nil
    if head then
      local standing = look_at_standing(bot, head)
      lane.at = math.max(now, standing and standing.due or 0)
    end
  end
  touch(bot, lane)
end

local function join(bot, lane, seq, message)
  lane.n = lane.n + 1
  if lane.n == 1 then
    count(bot, 'lanes', 1)
  end
  if message.target then
    call('ZADD', bot.k.g, 0, entry(bot, lane, seq, message))
  end
end

local function stand(bot, lane, seq, message, due)
  if due then
    later_in(bot, lane, seq, due)
  else
    place_in(bot, lane, seq, message.prio * TOP + pos_of(bot, seq))
  end
end

local function leave(bot, lane, seq, message)
  if is_later(bot, lane, seq) then
    unlater(bot, lane, seq)
  else
    unplace(bot, lane, seq)
  end
  lane.n = lane.n - 1
  if lane.n == 0 then
    count(bot, 'lanes', -1)
  end
  if message.target then
    call('ZREM', bot.k.g, entry(bot, lane, seq, message))
  end
end

local function land(bot, lane, seq)
  if lane.fly == seq then
    lane.fly = nil
    put(bot, 'f', seq)
  end
end

-- ---------------------------------------------------------------- how messages end

-- Note when an ended message ended (nil: it is ended no more).
local function list_ended(bot, seq, message, state, at)
  rank(bot, message.key and 'ek' or 'e', padded(seq), at)
  if state ~= DELIVERED then
    rank(bot, 's' .. state, seq, at and seq)
  end
end

-- A message reaches a final state; it is in no lane any more.
local function conclude(bot, seq, message, state, reason, now, day)
  local standing = load_standing(bot, seq)
  count(bot, 'waiting', -1)
  count(bot, NAMES[state], 1)
  standing.state, standing.reason, standing.ended = state, reason, now
  if message.expires then
    rank(bot, 'x', seq)
  end
  list_ended(bot, seq, message, state, now)
  local field = day .. ':' .. state
  bot.days[field] = (bot.days[field] or 0) + 1
  return standing
end

-- A waiting message, in flight or not, reaches a final state.
local function finish(bot, lane, seq, message, state, reason, now, day)
  land(bot, lane, seq)
  leave(bot, lane, seq, message)
  rehead(bot, lane, now)
  return conclude(bot, seq, message, state, reason, now, day)
end

-- A final message is final no more.
local function revive(bot, seq, message, standing)
  list_ended(bot, seq, message, standing.state)
  count(bot, NAMES[standing.state], -1)
end

local NO_FILES = {}

-- The files that the message needs, each once.
local function files_of(message)
  if not message.files then
    return NO_FILES
  end
  local seen, files = {}, {}
  for _, file in ipairs(message.files) do
    if not seen[file[2]] then
      seen[file[2]] = true
      files[#files + 1] = file[2]
    end
  end
  return files
end

-- A final message is forgotten. Adds to `orphans` the files that no other message of the bot needs.
local function remove(bot, seq, message, orphans)
  revive(bot, seq, message, look_at_standing(bot, seq))
  put(bot, 'm', seq)
  put(bot, 's', seq)
  put(bot, 'i', message.id)
  if message.key then
    put(bot, 'k', message.key)
  end
  for _, file in ipairs(files_of(message)) do
    if call('HINCRBY', bot.k.u, file, -1) <= 0 then
      call('HDEL', bot.k.u, file)
      orphans[#orphans + 1] = file
    end
  end
  note(bot, 'n', seq, -1)
  bot.messages[seq], bot.standings[seq], bot.changed[seq] = nil, nil, nil
  local lane = find_lane(bot, message.chat)
  if lane then
    lane.total = lane.total - 1
    touch(bot, lane)
  end
  return lane
end

-- Forget the lane if nothing need be remembered of it.
local function tidy(bot, lane, before)
  if lane.total <= 0 and not lane.suppressed and lane.chat_at < before and not lane.gone then
    unname_lane(bot, lane.chat)
    forget_lane(bot, lane)
    return 1
  end
  return 0
end

local function lift(bot, lane)
  if lane.suppressed then
    lane.suppressed, lane.since = nil, nil
    rank(bot, 'z', padded(lane.id))
    touch(bot, lane)
  end
end

-- What waits for a suppressed chat and is not in flight ends dead: the last of it first, so that the head is looked for once.
-- So much in one step; answers whether something is left.
local function end_suppressed(bot, lane, now, day)
  local seqs = last_waiting_in(bot, lane, MOST_ENDED)
  foresee_messages(bot, seqs)
  for _, seq in ipairs(seqs) do
    finish(bot, lane, seq, load_message(bot, seq), DEAD, 'suppressed: ' .. lane.suppressed, now, day)
  end
  return lane.n > (lane.fly and 1 or 0)
end

-- Nobody writes to the chat any more. Answers whether something is left to be ended.
local function suppress(bot, lane, why, now, day)
  lane.suppressed, lane.since = why, now
  rank(bot, 'z', padded(lane.id), now)
  touch(bot, lane)
  return end_suppressed(bot, lane, now, day)
end

-- Write everything that the script changed.
local function flush()
  for _, bot in ipairs(in_order) do
    for seq, s in pairs(bot.changed) do
      put(bot, 's', seq, packed({s.state, s.pos or false, s.due or false, s.ended or false, s.reason or false, s.tries,
        s.doubts, s.crashes, s.calls, s.by or false, s.requeued or false, s.result or false, s.log or false,
        s.mark or false}))
    end
    bot.changed = {}
    flush_lanes(bot)
    flush_hashes(bot)
    flush_blocks(bot, 'n')
    flush_blocks(bot, 'ln')
    flush_counts(bot)
  end
end
