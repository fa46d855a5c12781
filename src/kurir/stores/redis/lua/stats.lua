-- needs: bots
-- KEYS: the bots' `b`. ARGV from 3: bots, days. Answers for each its row, how many are in flight, since when its longest-ready lane could be
-- sending, and its days.
local FIELDS = {'waiting', 'delivered', 'dead', 'cancelled', 'expired', 'lanes', 'fenced', 'holder', 'until', 'paused', 'why'}
local days = tonumber(ARGV[4])

-- Since when the longest-ready lane could be sending.
local function oldest_of(bot)
  local oldest
  for prio = 0, 3 do
    local at = tonumber(call('ZRANGE', bot.k['r' .. prio], 0, 0, 'WITHSCORES')[2])
    if at and at < math.huge and (not oldest or at < oldest) then
      oldest = at
    end
  end
  return oldest and exact(oldest) or ''
end

-- The last days that had any, and how many of each end.
local function days_of(bot)
  local told = {}
  for _, day in ipairs(days > 0 and call('ZREVRANGE', bot.k.yz, 0, days - 1) or {}) do
    told[#told + 1] = day
    for _, n in ipairs(call('HMGET', bot.k.y, day .. ':2', day .. ':3', day .. ':4', day .. ':5')) do
      told[#told + 1] = n or 0
    end
  end
  return told
end

local function stats_of(bot)
  local row = call('HMGET', bot.k.b, unpack(FIELDS))
  if tonumber(row[1] or 0) == 0 then -- then nothing is in flight, and no lane is ready
    return {row, 0, '', days_of(bot)}
  end
  return {row, call('HLEN', bot.k.f), oldest_of(bot), days_of(bot)}
end

return for_each_bot(stats_of)
