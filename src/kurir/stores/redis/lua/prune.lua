-- needs: bots lanes messages
-- KEYS: the bot's `b`. ARGV from 3: bot, call, ended before, the same for those with a key, now, suppressed before, then
-- order numbers. Answers messages and lanes removed, and files that no message of the bot needs any more.
local bot = bot_of(ARGV[3])
local kept = bot.k['a:' .. ARGV[4]]
local before = call('GET', kept)
if before then
  return cmsgpack.unpack(before)
end
local KEEP, LANE_REST = 600, 3600 -- seconds
despite_full(bot)

for _, member in ipairs(call('ZRANGEBYSCORE', bot.k.z, '-inf', '(' .. ARGV[8], 'LIMIT', 0, 1000)) do
  local lane = load_lane(bot, tonumber(member))
  if lane then
    lift(bot, lane)
  end
end

local messages, orphans, lanes, touched = 0, {}, 0, {}
for index = 9, #ARGV do
  local seq = tonumber(ARGV[index])
  local message, standing = load_message(bot, seq), look_at_standing(bot, seq)
  if message and standing and standing.state ~= WAITING
    and standing.ended < tonumber(ARGV[message.key and 6 or 5]) then
    touched[#touched + 1] = remove(bot, seq, message, orphans)
    messages = messages + 1
  end
end
for _, lane in ipairs(touched) do
  lanes = lanes + tidy(bot, lane, tonumber(ARGV[7]) - LANE_REST)
end
flush()
local answer = {messages, lanes, orphans}
if messages > 0 then
  call('SET', kept, cmsgpack.pack(answer), 'EX', KEEP)
end
return answer
