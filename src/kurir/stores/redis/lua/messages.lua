-- Messages: as accepted (`load_message`), as they stand (`load_standing`), how they join a lane, leave it, and end.
local NAMES = {[0] = 'waiting', [2] = 'delivered', [3] = 'dead', [4] = 'cancelled', [5] = 'expired'}

local function read_message(raw)
  local message, _ = {raw = raw}, nil
  _, message.id, message.chat, message.method, message.prio, message.accepted, message.due, message.expires, message.key,
    message.digest, message.target, message.flags, message.files = cmsgpack.unpack_limit(raw, 12)
  return message
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
  local standing = {raw = raw}
  standing.state, standing.pos, standing.due, standing.ended, standing.reason, standing.tries, standing.doubts,
    standing.crashes, standing.calls, standing.by, standing.requeued, standing.result, standing.log, standing.mark =
    cmsgpack.unpack(raw)
  return standing
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
    standing = {state = WAITING, due = message.due, tries = 0, doubts = 0, crashes = 0, calls = 0}
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

local function subject_field(lane, target)
  return lane.id .. ':' .. (string.match(target, '^(.*):[^:]*$') or '')
end

local function about(bot, lane, target)
  local raw = call('HGET', bot.k.g, subject_field(lane, target))
  return raw and cmsgpack.unpack(raw) or {}
end

local function set_about(bot, lane, target, list)
  if #list > 0 then
    call('HSET', bot.k.g, subject_field(lane, target), cmsgpack.pack(list))
  else
    call('HDEL', bot.k.g, subject_field(lane, target))
  end
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
    local list = about(bot, lane, message.target)
    list[#list + 1] = {seq, pos_of(bot, seq), message.prio, message.target}
    set_about(bot, lane, message.target, list)
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
    local rest = {}
    for _, other in ipairs(about(bot, lane, message.target)) do
      if other[1] ~= seq then
        rest[#rest + 1] = other
      end
    end
    set_about(bot, lane, message.target, rest)
  end
end

local function land(bot, lane, seq)
  call('HDEL', bot.k.f, seq)
  if lane.fly == seq then
    lane.fly = nil
  end
end

-- ---------------------------------------------------------------- how messages end

-- A message reaches a final state; it is in no lane any more.
local function conclude(bot, seq, message, state, reason, now, day)
  local standing = load_standing(bot, seq)
  count(bot, 'waiting', -1)
  count(bot, NAMES[state], 1)
  standing.state, standing.reason, standing.ended = state, reason, now
  if message.expires then
    call('ZREM', bot.k.x, seq)
  end
  call('ZADD', bot.k[message.key and 'ek' or 'e'], now, padded(seq))
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
  call('ZREM', bot.k[message.key and 'ek' or 'e'], padded(seq))
  count(bot, NAMES[standing.state], -1)
end

-- The files that the message needs, each once.
local function files_of(message)
  local seen, files = {}, {}
  for _, file in ipairs(message.files or {}) do
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
  call('HDEL', bot.k.m, seq)
  call('HDEL', bot.k.s, seq)
  call('HDEL', bot.k.i, message.id)
  if message.key then
    call('HDEL', bot.k.k, message.key)
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
    call('ZREM', bot.k.z, padded(lane.id))
    touch(bot, lane)
  end
end

-- Nobody writes to the chat any more; what waits for it and is not in flight ends dead.
local function suppress(bot, lane, why, now, day)
  lane.suppressed, lane.since = why, now
  call('ZADD', bot.k.z, now, padded(lane.id))
  touch(bot, lane)
  for _, list in ipairs({waiting_in(bot, lane)}) do
    for _, seq in ipairs(list) do
      seq = tonumber(seq)
      finish(bot, lane, seq, load_message(bot, seq), DEAD, 'suppressed: ' .. why, now, day)
    end
  end
end

-- Write everything that the script changed.
local function flush()
  for _, bot in ipairs(in_order) do
    local messages, standings = {}, {}
    for _, seq in ipairs(bot.kept) do
      messages[#messages + 1], messages[#messages + 2] = seq, bot.messages[seq].raw
    end
    bot.kept = {}
    many('HSET', bot.k.m, messages, 2)
    many('HSET', bot.k.i, bot.ids, 2)
    bot.ids = {}
    for seq, s in pairs(bot.changed) do
      standings[#standings + 1] = seq
      standings[#standings + 1] = cmsgpack.pack(s.state, s.pos, s.due, s.ended, s.reason, s.tries, s.doubts, s.crashes,
        s.calls, s.by, s.requeued, s.result, s.log, s.mark)
    end
    bot.changed = {}
    many('HSET', bot.k.s, standings, 2)
    flush_lanes(bot)
    flush_blocks(bot, 'n')
    flush_blocks(bot, 'ln')
    flush_counts(bot)
  end
end
