-- needs: bots lanes messages
-- KEYS: the bots' `b`. ARGV from 3: holder, until, now, own clock, call, then the bots.
-- Answers the server's time, and for each bot: nothing where somebody else has it; else token, until, paused until, why, whether lanes are in
-- flight under older tokens, the id of the lone one, and chat and time of the last minute's attempts.
local holder, till, given, own, id = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7]
local now = clock(own, given)
till = now + (till - given)
if own ~= '1' then
  till = tonumber(ARGV[4])
end
local RECENT = 60

local function recent(bot)
  local told = {}
  local list = call('ZRANGEBYSCORE', bot.k.h, '(' .. exact(now - RECENT), '+inf', 'WITHSCORES')
  for index = 1, #list, 2 do
    local message = load_message(bot, tonumber(string.match(list[index], ':(%d+)$')))
    if message then
      told[#told + 1], told[#told + 2] = today(bot, message.chat), list[index + 1]
    end
  end
  return told
end

-- Whether something is in flight under older tokens; what is so alone under the newest of them.
local function orphans(bot, token)
  local newest, n, seq = 0, 0, nil
  local flying = call('HGETALL', bot.k.f)
  for index = 1, #flying, 2 do
    local its = cmsgpack.unpack(flying[index + 1])
    if its ~= token then
      if its > newest then
        newest, n = its, 0
      end
      if its == newest then
        n, seq = n + 1, tonumber(flying[index])
      end
    end
  end
  return seq ~= nil, n == 1 and seq or nil
end

local answers = {}
for index = 8, #ARGV do
  local bot = bot_of(ARGV[index])
  despite_full(bot)
  register(bot)
  local row = call('HMGET', bot.k.b, 'holder', 'token', 'until', 'paused', 'why', 'taken')
  local owner, token, ends = row[1], tonumber(row[2] or nil) or 0, tonumber(row[3] or nil) or 0
  local answer = false
  if till <= now then
    if owner == holder then
      call('HDEL', bot.k.b, 'holder', 'until')
    end
  elseif owner == holder or not owner or ends <= now then
    local new = owner ~= holder
    if new then
      token = token + 1
      call('HSET', bot.k.b, 'holder', holder, 'token', token, 'taken', id)
    end
    call('HSET', bot.k.b, 'until', exact(till))
    new = new or row[6] == id -- asked again because the answer was lost
    local left, lone = orphans(bot, token)
    answer = {token, exact(till), row[4] or '0', row[5], left and 1 or 0,
      new and lone and load_message(bot, lone).id or false, new and recent(bot) or {}}
  end
  answers[#answers + 1] = answer
end
local time = call('TIME')
return {time[1], time[2], answers}
