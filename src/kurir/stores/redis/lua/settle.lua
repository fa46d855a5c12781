-- needs: bots lanes messages accept moves
-- KEYS: the bots' `b`, and the counter of order numbers (outside a cluster).
-- ARGV from 3: counter or '', first number fetched, channel, who, then groups: now, day, n, then n times bot, settlement,
-- number of follow-ups, and these as bot, draft. Each group is recorded whole or not at all. Answers a group at a time: a
-- conflict, or for each settlement 0, 1, or 2: what it suppressed may have more waiting, for `end_suppressed`.
local counter, number = ARGV[3], tonumber(ARGV[4])
local channel, who = ARGV[5], ARGV[6]
local RECENT = 60

local function open(bot, raw)
  local seq, token, mark, state, due, later, chat_at, tries, doubts, crashes, reason, result, log, started, called, suppressed,
    moved, file_ids = cmsgpack.unpack(raw)
  return {bot = bot, drafts = {}, seq = seq, token = token, mark = mark, state = state, due = due, later = later,
    chat_at = chat_at, tries = tries, doubts = doubts, crashes = crashes, reason = reason, result = result, log = log,
    started = started, called = called, suppress = suppressed, moved = moved, file_ids = file_ids, left = nil}
end

-- Whether the claim holds still: 'yes', 'done' if this very settlement was recorded before, or nil.
local function holds(s, seen)
  local name = s.bot.id .. ':' .. exact(s.seq)
  if seen[name] then
    return nil
  end
  local standing = look_at_standing(s.bot, s.seq)
  if standing and standing.mark == s.mark then
    seen[name] = true
    return 'done'
  end
  local flight = flight_of(s.bot, s.seq)
  if flight and cmsgpack.unpack(flight) == s.token then
    seen[name] = true
    return 'yes'
  end
  return nil
end

local function learn(bot, file_ids)
  for _, it in ipairs(file_ids or {}) do
    local raw = call('HGET', bot.k.o, it[1])
    local known = raw and cmsgpack.unpack(raw) or {}
    known[it[2]] = it[3]
    call('HSET', bot.k.o, it[1], cmsgpack.pack(known))
  end
end

-- Attempts that began at these times, for who takes the bot over within the next minute.
local function note_attempts(bot, seq, started, now)
  if not bot.calls then
    bot.calls = tonumber(call('HGET', bot.k.b, 'calls') or nil) or 0
    call('ZREMRANGEBYSCORE', bot.k.h, '-inf', exact(now - RECENT))
  end
  for _, at in ipairs(started) do
    bot.calls = bot.calls + 1
    count(bot, 'calls', 1)
    if at > now - RECENT then
      rank(bot, 'h', exact(bot.calls) .. ':' .. exact(seq), at)
    end
  end
end

-- Counters, attempts, file_ids.
local function record(s, standing, now)
  local bot, kept = s.bot, not s.called and s.state == WAITING -- handed back
  standing.tries = s.tries ~= 0 and s.tries or (kept and standing.tries or 0)
  standing.doubts = s.doubts ~= 0 and s.doubts or (kept and standing.doubts or 0)
  standing.crashes = s.crashes ~= 0 and s.crashes or (kept and standing.crashes or 0)
  if s.log then
    standing.log = (standing.log or '') .. s.log
    standing.calls = standing.calls + #s.started
    note_attempts(bot, s.seq, s.started, now)
  end
  learn(bot, s.file_ids)
end

-- The newest waiting message of the same target, if it is newer.
local function newer(bot, lane, seq, message)
  local newest = seq
  for _, other in ipairs(message.target and about(bot, lane, message.target) or {}) do
    if other[4] == message.target and other[1] > newest then
      newest = other[1]
    end
  end
  return newest ~= seq and newest or nil
end

local function settle(s, now, day)
  local bot, seq = s.bot, s.seq
  local message, lane = load_message(bot, seq), lane_by_message(bot, seq)
  local standing = load_standing(bot, seq)
  quiet(lane, s.chat_at)
  record(s, standing, now)
  standing.due, standing.mark = s.due, s.mark
  local after = s.later and s.state == WAITING and newer(bot, lane, seq, message)
  if after then
    standing.due, standing.by = nil, load_message(bot, after).id
    finish(bot, lane, seq, message, CANCELLED, 'superseded', now, day)
  elseif s.state ~= WAITING then
    finish(bot, lane, seq, message, s.state, s.reason, now, day)
    standing.result = s.result
  else
    standing.reason = s.reason
    land(bot, lane, seq)
    stand(bot, lane, seq, message, s.later and s.due and s.due > now and s.due or nil)
    rehead(bot, lane, now)
  end
  if s.moved then
    move(bot, lane, s.moved, now)
  end
  if s.suppress then
    s.left = suppress(bot, lane_by_message(bot, seq), s.suppress, now, day)
  end
  for _, draft in ipairs(s.drafts) do
    local _, used = accept(draft, number, now, day)
    number = used and number + 1 or number
  end
end

-- Load at once what will be asked of these settlements: messages and lanes.
local function foresee_settled(settlements)
  local wanted = {}
  for _, s in ipairs(settlements) do
    wanted[s.bot] = wanted[s.bot] or {}
    table.insert(wanted[s.bot], s.seq)
  end
  for bot, seqs in pairs(wanted) do
    foresee_messages(bot, seqs)
    local flights, chats = fetch(bot.k.f, seqs), {}
    for index, seq in ipairs(seqs) do
      bot.flights[seq] = flights[index] or false
    end
    for _, seq in ipairs(seqs) do
      local message = bot.messages[seq]
      chats[#chats + 1] = message and message.chat
    end
    foresee_chats(bot, chats)
  end
end

local function settle_group(settlements, now, day)
  local seen, follow_ups, fates = {}, {}, {}
  foresee_settled(settlements)
  for index, s in ipairs(settlements) do
    fates[index] = holds(s, seen)
    for _, draft in ipairs(fates[index] == 'yes' and s.drafts or {}) do
      follow_ups[#follow_ups + 1] = draft
    end
  end
  foresee_drafts(follow_ups)
  local refused, new = refusal(follow_ups)
  if refused then
    return refused
  end
  if new > 0 and counter ~= '' then
    number = take_numbers(new, counter)
  end
  local answers = {}
  for index, s in ipairs(settlements) do
    answers[index] = fates[index] and 1 or 0
    if not fates[index] then
      count(s.bot, 'fenced', 1)
      register(s.bot)
    end
  end
  for index, s in ipairs(settlements) do
    if fates[index] == 'yes' then
      despite_full(s.bot)
      settle(s, now, day)
    end
    if s.suppress and fates[index] and (s.left or fates[index] == 'done') then
      answers[index] = 2
    end
  end
  return answers
end

local at, answers = 7, {}
while ARGV[at] do
  local now, day, n = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local settlements = {}
  for index = 1, n do
    local s = open(bot_of(ARGV[at]), ARGV[at + 1])
    local more = tonumber(ARGV[at + 2])
    at = at + 3
    for follow_up = 1, more do
      s.drafts[follow_up] = {bot = bot_of(ARGV[at]), raw = ARGV[at + 1]}
      at = at + 2
    end
    settlements[index] = s
  end
  answers[#answers + 1] = settle_group(settlements, now, day)
end
flush()
redis.pcall('PUBLISH', channel, who)
return answers
