-- needs: bots lanes messages accept
-- KEYS: the bots' `b`, and the counter of order numbers (outside a cluster).
-- ARGV from 3: counter or '', 0, channel, who, then groups: now, day, in a cluster the numbers of its drafts, n, then n times
-- bot, draft. Each group is kept whole or not at all. Answers a group at a time: a conflict, or what became of its drafts.
local counter, channel, who = ARGV[3], ARGV[5], ARGV[6]

local function keep(drafts, now, day, numbers)
  local refused, new = refusal(drafts)
  if refused then
    return refused
  end
  local number = not numbers and new > 0 and take_numbers(new, counter)
  local accepted = {}
  for index, draft in ipairs(drafts) do
    local answer, used = accept(draft, numbers and numbers[index] or number, now, day)
    accepted[index] = answer
    number = number and used and number + 1 or number
  end
  return accepted
end

local at, answers = 7, {}
while ARGV[at] do
  local now, day, n = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 3])
  local numbers = ARGV[at + 2] ~= '' and cmsgpack.unpack(ARGV[at + 2]) or nil
  local drafts = {}
  for index = 1, n do
    drafts[index] = {bot = bot_of(ARGV[at + 2 + 2 * index]), raw = ARGV[at + 3 + 2 * index]}
  end
  at = at + 4 + 2 * n
  answers[#answers + 1] = keep(drafts, now, day, numbers)
end
flush()
redis.pcall('PUBLISH', channel, who)
return answers
