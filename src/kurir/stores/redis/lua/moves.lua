-- A chat gets another id.

-- All that waits in `lane` goes over to `into`, in its old places.
local function merge(bot, lane, into, now)
  local placed, later = waiting_in(bot, lane)
  for index, list in ipairs({placed, later}) do
    for _, seq in ipairs(list) do
      seq = tonumber(seq)
      local message = load_message(bot, seq)
      local due = index == 2 and tonumber(call('ZSCORE', bot.k.t, padded(seq))) or nil
      leave(bot, lane, seq, message)
      join(bot, into, seq, message)
      stand(bot, into, seq, message, due)
    end
  end
  quiet(into, lane.chat_at, lane.why)
  into.total = into.total + lane.total
  rehead(bot, into, now)
  forget_lane(bot, lane)
end

-- The lane's chat is called `chat` from now on; a lane that has that name takes this one in.
local function move(bot, lane, chat, now)
  local old, other, new = lane.chat, find_lane(bot, chat)
  if new == old then
    return
  end
  call('HSET', bot.k.v, old, new)
  bot.aliased = true
  unname_lane(bot, old)
  if other then
    merge(bot, lane, other, now)
  else
    name_lane(bot, lane, new)
  end
end
