-- needs: bots lanes messages claims
-- KEYS: the bot's `b`. ARGV from 3: bot, holder, token, limit, suspects, call, calls whose answers were lost.
-- Answers how many are still to be told of lost answers, and the claims.
local bot = bot_of(ARGV[3])
local holder, token, limit, suspects, id = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1', tonumber(ARGV[8])
local row = call('HMGET', bot.k.b, 'holder', 'token')
if row[1] ~= holder or tonumber(row[2]) ~= token then
  return {0, {}}
end
despite_full(bot)
local claims, strays = {}, 0

local function take(flights, lost)
  for _, flight in ipairs(flights) do
    local seq = flight[1]
    local standing = look_at_standing(bot, seq)
    local hit = standing and standing.crashes > 0 or false
    if hit == suspects and (not lost or lost[flight[3]]) then
      if #claims < limit then
        local lane = load_lane(bot, flight[2])
        fly(bot, seq, lane, token, id)
        claims[#claims + 1] = claim_of(bot, seq, lane)
      elseif lost then
        strays = strays + 1
      end
    end
  end
end

local lost = lost_calls(9)
if lost then
  take(in_flight(bot, token, false), lost)
end
take(in_flight(bot, token, true))
flush()
return {strays, claims}
