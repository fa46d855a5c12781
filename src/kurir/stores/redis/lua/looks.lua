-- Lanes as people see them: number, chat, how many wait, whether one is in flight, when the next may leave, until when it is
-- held, the head's id, why it is suppressed, since when, why it is held.
local function look_of(bot, lane)
  local head = lane.fly or lane.first
  local next_at = ''
  if not lane.fly then
    if lane.first then
      next_at = exact(math.max(lane.chat_at, lane.at))
    elseif lane.later then
      next_at = exact(math.max(lane.chat_at, lane.due))
    end
  end
  return {lane.id, lane.chat, lane.n, lane.fly and 1 or 0, next_at, exact(lane.chat_at),
    head and load_message(bot, head).id or false, lane.suppressed or false, lane.since and exact(lane.since) or '',
    lane.why or false}
end

local function is_meant(lane, waiting, suppressed)
  return (not waiting or lane.n > 0) and (not suppressed or lane.suppressed)
end
