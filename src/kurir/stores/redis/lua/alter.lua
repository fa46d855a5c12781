-- needs: bots lanes messages matching
-- KEYS: the bot's `b`. ARGV from 3: channel, who, call, bot, query (JSON), change, its reason, now, day, then order numbers.
-- Changes those that match still. Answers the ids; the same call once more answers them again.
local bot = bot_of(ARGV[6])
local kept = bot.k['a:' .. ARGV[5]]
local before = call('GET', kept)
if before then
  return cmsgpack.unpack(before)
end
local query, change, reason = cjson.decode(ARGV[7]), ARGV[8], ARGV[9]
local now, day = tonumber(ARGV[10]), ARGV[11]
local KEEP, LANE_REST = 600, 3600 -- seconds
local test, changed = tester(bot, query), {}
despite_full(bot)

local function requeue(seq, message)
  local standing = load_standing(bot, seq)
  revive(bot, seq, message, standing)
  count(bot, 'waiting', 1)
  standing.state, standing.pos, standing.due, standing.requeued = WAITING, next_pos(bot), nil, now
  standing.ended, standing.reason, standing.result, standing.by = nil, nil, nil, nil
  standing.tries, standing.doubts, standing.crashes = 0, 0, 0
  local lane = find_lane(bot, message.chat)
  lift(bot, lane)
  join(bot, lane, seq, message)
  stand(bot, lane, seq, message)
  rehead(bot, lane, now)
end

for index = 12, #ARGV do
  local seq = tonumber(ARGV[index])
  local raw = call('HGET', bot.k.m, seq)
  if raw and test(seq, raw, call('HGET', bot.k.s, seq)) then
    local message = load_message(bot, seq)
    if change == 'requeue' then
      requeue(seq, message)
    elseif change == 'purge' then
      tidy(bot, remove(bot, seq, message, {}), now - LANE_REST)
    else
      finish(bot, lane_by_message(bot, seq), seq, message, tonumber(change), reason, now, day)
    end
    changed[#changed + 1] = message.id
  end
end
flush()
if #changed > 0 then
  call('SET', kept, cmsgpack.pack(changed), 'EX', KEEP)
  redis.pcall('PUBLISH', ARGV[3], ARGV[4])
end
return changed
