-- needs: bots lanes messages accept
-- KEYS: the bot's `b`. ARGV from 3: bot, then drafts. Answers a conflict, or nothing.
local drafts = {}
for index = 4, #ARGV do
  drafts[#drafts + 1] = {bot = bot_of(ARGV[3]), raw = ARGV[index]}
end
foresee_drafts(drafts)
return refusal(drafts) or {}
