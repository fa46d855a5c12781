-- needs: bots lanes messages accept
-- KEYS: the bot's `b`, and the counter (outside a cluster). ARGV from 3: counter or '', first number fetched, channel, who,
-- bot, then messages: number, whether it waits without a place, the token it is in flight under or '', its place, as
-- accepted, as it stands or ''.
local bot = bot_of(ARGV[7])
local number = tonumber(ARGV[4])
local RECENT = 60
local top = tonumber(call('HGET', bot.k.b, 'pos') or nil) or 0
register(bot)

-- The lane's head among what is there so far; it has its turn since it was told, or since `since`.
local function behead(lane, since)
  lane.head = not lane.fly and lane.first or nil
  if lane.first and not lane.at then
    lane.at = since
  end
  touch(bot, lane)
end

local function forget_attempts(seq)
  for _, member in ipairs(call('ZRANGE', bot.k.h, 0, -1)) do
    if tonumber(string.match(member, ':(%d+)$')) == seq then
      call('ZREM', bot.k.h, member)
    end
  end
end

-- An older copy gives way.
local function withdraw(seq)
  local message = load_message(bot, seq)
  if not message then
    return
  end
  local standing, lane = load_standing(bot, seq), lane_by_message(bot, seq)
  if standing.state == WAITING then
    land(bot, lane, seq)
    leave(bot, lane, seq, message)
    behead(lane, 0)
    if message.expires then
      rank(bot, 'x', seq)
    end
  end
  if standing.log then
    forget_attempts(seq)
  end
  remove(bot, seq, message, {})
end

local function recall_attempts(seq, log)
  local values = {cmsgpack.unpack(log)}
  local n = select('#', cmsgpack.unpack(log))
  for index = 1, n, 5 do
    call('ZADD', bot.k.h, values[index], call('HINCRBY', bot.k.b, 'calls', 1) .. ':' .. exact(seq))
  end
end

local function keep(seq, message)
  bot.messages[seq] = message
  put(bot, 'm', seq, message.raw)
  put(bot, 'i', message.id, seq)
  if message.key then
    put(bot, 'k', message.key, seq)
  end
  for _, file in ipairs(files_of(message)) do
    call('HINCRBY', bot.k.u, file, 1)
  end
  note(bot, 'n', seq, 1)
end

local function wait_on(lane, seq, message, later, token)
  if message.expires then
    rank(bot, 'x', seq, message.expires)
  end
  join(bot, lane, seq, message)
  if token ~= '' then
    lane.fly = seq
    put(bot, 'f', seq, cmsgpack.pack(tonumber(token), lane.id, 0))
  else
    stand(bot, lane, seq, message, later and (look_at_standing(bot, seq) or message).due or nil)
  end
  behead(lane, message.accepted)
end

for index = 8, #ARGV, 6 do
  local seq, later, token, pos = tonumber(ARGV[index]), ARGV[index + 1] == '1', ARGV[index + 2], tonumber(ARGV[index + 3])
  local raw, told = ARGV[index + 4], ARGV[index + 5]
  withdraw(seq)
  local message = read_message(raw)
  local lane = find_lane(bot, message.chat)
  if not lane then
    lane = lane_of(bot, message.chat, take_numbers(1, ARGV[3], number))
    number = number + 1
  end
  keep(seq, message)
  if told ~= '' then
    bot.changed[seq] = read_standing(told)
  end
  bot.standings[seq] = bot.changed[seq] or false
  local standing = look_at_standing(bot, seq)
  lane.total = lane.total + 1
  touch(bot, lane)
  if not standing or standing.state == WAITING then
    count(bot, 'waiting', 1)
    wait_on(lane, seq, message, later, token)
  else
    count(bot, NAMES[standing.state], 1)
    list_ended(bot, seq, message, standing.state, standing.ended)
  end
  if standing and standing.log then
    recall_attempts(seq, standing.log)
  end
  top = math.max(top, pos)
end
bot.pos = top
flush()
local newest = tonumber(call('ZRANGE', bot.k.h, -1, -1, 'WITHSCORES')[2])
if newest then
  call('ZREMRANGEBYSCORE', bot.k.h, '-inf', exact(newest - RECENT))
end
return 1
