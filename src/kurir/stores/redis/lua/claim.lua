-- needs: bots lanes messages claims
-- KEYS: the bot's `b`. ARGV from 3: bot, holder, token, now, own clock, limit, low, call, calls whose answers were lost.
-- Answers when more may be claimable ('' if never by itself), how many are still to be told of lost answers, the claims.
local bot = bot_of(ARGV[3])
local holder, token, now, own = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local limit, low, id = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local PROMOTE = 500 -- messages for later that take their places in one call, at most

local row = call('HMGET', bot.k.b, 'holder', 'token', 'until', 'paused')
local ends, paused = tonumber(row[3] or nil) or 0, tonumber(row[4] or nil) or 0
if row[1] ~= holder or tonumber(row[2]) ~= token or ends < clock(own, now) then
  return {'', 0, {}}
end
if paused > now then
  return {paused == math.huge and '' or exact(paused), 0, {}}
end
despite_full(bot)

local claims, strays = {}, 0
local lost = lost_calls(11)
if lost then
  for _, flight in ipairs(in_flight(bot, token, false)) do
    if lost[flight[3]] then
      if #claims < limit then
        local lane = load_lane(bot, flight[2])
        fly(bot, flight[1], lane, token, id)
        claims[#claims + 1] = claim_of(bot, flight[1], lane)
      else
        strays = strays + 1
      end
    end
  end
end

local due = call('ZRANGEBYSCORE', bot.k.t, '-inf', exact(now), 'WITHSCORES', 'LIMIT', 0, PROMOTE)
for index = 1, #due, 2 do
  local seq = tonumber(due[index])
  local lane = lane_by_message(bot, seq)
  unlater(bot, lane, seq)
  stand(bot, lane, seq, load_message(bot, seq))
  rehead(bot, lane, tonumber(due[index + 1]))
end
flush_lanes(bot)

local function take(prio, room)
  local taken = {}
  if room > 0 then
    local ids, heads = {}, {}
    for index, member in ipairs(call('ZRANGEBYSCORE', bot.k['r' .. prio], '-inf', exact(now), 'LIMIT', 0, room)) do
      ids[index] = tonumber(member)
    end
    foresee_lanes(bot, ids)
    for index, lane in ipairs(ids) do
      heads[index] = load_lane(bot, lane).first
    end
    foresee_messages(bot, heads)
    for _, number in ipairs(ids) do
      local lane = load_lane(bot, number)
      local seq = lane.first
      unplace(bot, lane, seq)
      lane.fly = seq
      rehead(bot, lane, now)
      fly(bot, seq, lane, token, id)
      taken[#taken + 1] = claim_of(bot, seq, lane)
    end
    flush_lanes(bot)
  end
  return taken
end

local function add(list)
  for _, claim in ipairs(list) do
    claims[#claims + 1] = claim
  end
end

local reserved = take(3, math.min(low, limit - #claims))
for prio = 0, 2 do
  add(take(prio, limit - #claims - #reserved))
end
add(reserved)
add(take(3, limit - #claims))

local next_at
for _, name in ipairs({'r0', 'r1', 'r2', 'r3', 'w'}) do
  local at = tonumber(call('ZRANGE', bot.k[name], 0, 0, 'WITHSCORES')[2])
  if at and at < math.huge and (not next_at or at < next_at) then
    next_at = at
  end
end
flush()
return {next_at and exact(math.max(next_at, now)) or '', strays, claims}
