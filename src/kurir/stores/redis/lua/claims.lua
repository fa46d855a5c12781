-- Claims, for `claim` and `adopt`.

-- The message as a courier holds it: number, lane, chat, why it is suppressed, as accepted, as it stands, file_ids.
local function claim_of(bot, seq, lane)
  local message = load_message(bot, seq)
  local file_ids = {}
  for _, file in ipairs(files_of(message)) do
    local known = call('HGET', bot.k.o, file)
    if known then
      file_ids[#file_ids + 1], file_ids[#file_ids + 2] = file, known
    end
  end
  local standing = look_at_standing(bot, seq)
  return {seq, lane.id, lane.chat, lane.suppressed or false, message.raw, standing and standing.raw or false, file_ids}
end

local function fly(bot, seq, lane, token, id)
  put(bot, 'f', seq, packed({token, lane.id, id}))
end

-- What is in flight under `token` (or, `older`, under any other): lists of {seq, lane, call}, in the lanes' order.
local function in_flight(bot, token, older)
  local found, flying = {}, call('HGETALL', bot.k.f)
  for index = 1, #flying, 2 do
    local its, lane, id = cmsgpack.unpack(flying[index + 1])
    if (its ~= token) == older then
      found[#found + 1] = {tonumber(flying[index]), lane, id}
    end
  end
  table.sort(found, function(a, b) return a[2] < b[2] end)
  return found
end

-- Calls whose answers were lost: `n` of them from ARGV[first] on.
local function lost_calls(first)
  local lost, any = {}, false
  for index = first, #ARGV do
    lost[tonumber(ARGV[index])], any = true, true
  end
  return any and lost or nil
end
