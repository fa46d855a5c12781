-- needs: bots lanes messages accept
-- KEYS: the bots' `b`, and the counter of order numbers (outside a cluster).
-- ARGV from 3: counter or '', 0, channel, who, then groups: now, day, in a cluster the numbers of its drafts, n, then n times
-- bot, draft. Each group is kept whole or not at all. Answers a group at a time: a conflict, or what became of its drafts.
local counter, channel, who = ARGV[3], ARGV[5], ARGV[6]

local groups, all = {}, {}
local at = 7
while ARGV[at] do
  local n = tonumber(ARGV[at + 3])
  local numbers = ARGV[at + 2] ~= '' and cmsgpack.unpack(ARGV[at + 2])
  local drafts = {}
  for index = 1, n do
    local draft = {bot = bot_of(ARGV[at + 2 + 2 * index]), raw = ARGV[at + 3 + 2 * index], number = numbers and numbers[index]}
    drafts[index], all[#all + 1] = draft, draft
  end
  groups[#groups + 1] = {now = tonumber(ARGV[at]), day = ARGV[at + 1], drafts = drafts}
  at = at + 4 + 2 * n
end

foresee_drafts(all)
if counter ~= '' then
  local first = take_numbers(#all, counter) -- one for each, though not all may be new
  for index, draft in ipairs(all) do
    draft.number = first + index - 1
  end
end

local answers = {}
for index, group in ipairs(groups) do
  local accepted = refusal(group.drafts)
  if not accepted then
    accepted = {}
    for place, draft in ipairs(group.drafts) do
      accepted[place] = accept(draft, draft.number, group.now, group.day)
    end
  end
  answers[index] = accepted
end
flush()
redis.pcall('PUBLISH', channel, who)
return answers
