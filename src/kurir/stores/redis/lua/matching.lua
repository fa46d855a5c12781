-- Which messages a query means.
local FEW = 3000 -- candidates that are sorted in one call at most

local function numbers(list)
  local seqs = {}
  for index, seq in ipairs(list) do
    seqs[index] = tonumber(seq)
  end
  return seqs
end

-- Whether states are asked for, and only such from `first` to `last`.
local function only(states, first, last)
  for _, state in ipairs(states or {}) do
    if state < first or state > last then
      return false
    end
  end
  return states ~= nil
end

local function by_ids(bot, ids)
  local seqs, seen = {}, {}
  for _, id in ipairs(ids) do
    local seq = tonumber(call('HGET', bot.k.i, id) or nil)
    if seq and not seen[seq] then
      seen[seq] = true
      seqs[#seqs + 1] = seq
    end
  end
  return seqs
end

-- What waits in a lane, in flight or not.
local function all_in(bot, lane, seqs)
  for _, list in ipairs({waiting_in(bot, lane)}) do
    for _, seq in ipairs(list) do
      seqs[#seqs + 1] = tonumber(seq)
    end
  end
  seqs[#seqs + 1] = lane.fly
  return seqs
end

-- What waits in all lanes.
local function all_waiting(bot)
  local seen, seqs = {}, {}
  local function add(id)
    if not seen[id] then
      seen[id] = true
      all_in(bot, load_lane(bot, id), seqs)
    end
  end
  for _, name in ipairs({'r0', 'r1', 'r2', 'r3', 'w'}) do
    for _, member in ipairs(call('ZRANGE', bot.k[name], 0, -1)) do
      add(tonumber(member))
    end
  end
  for _, flight in ipairs(call('HVALS', bot.k.f)) do
    local _, lane = cmsgpack.unpack(flight)
    add(lane)
  end
  return seqs
end

-- The next `most` messages, at least, that ended in these states, and where there are more.
local function ended_in(bot, states, from, most, forward)
  local seqs, rest = {}, nil
  for _, state in ipairs(states) do
    local key, list = bot.k['s' .. state], nil
    if forward then
      list = numbers(call('ZRANGEBYSCORE', key, from or '-inf', '+inf', 'LIMIT', 0, most))
    else
      list = numbers(call('ZREVRANGEBYSCORE', key, from or '+inf', '-inf', 'LIMIT', 0, most))
    end
    local last = #list == most and list[most] or nil
    if last and (not rest or (forward and last < rest) or (not forward and last > rest)) then
      rest = last
    end
    for _, seq in ipairs(list) do
      seqs[#seqs + 1] = seq
    end
  end
  if not rest then
    return seqs
  end
  local near = {}
  for _, seq in ipairs(seqs) do
    if (forward and seq <= rest) or (not forward and seq >= rest) then
      near[#near + 1] = seq
    end
  end
  return near, rest + (forward and 1 or -1)
end

-- The numbers of messages that may match, and where there are more of them; or nil: look at all there are.
local function candidates(bot, query, from, work)
  if query.ids then
    return by_ids(bot, query.ids)
  elseif query.seqs then
    return query.seqs
  elseif query.key then
    return numbers({call('HGET', bot.k.k, query.key) or nil})
  elseif query.file and call('HEXISTS', bot.k.u, query.file) == 0 then
    return {}
  elseif only(query.states, DEAD, EXPIRED) then
    return ended_in(bot, query.states, from, math.ceil(work / #query.states), query.forward)
  elseif query.expired_by and only(query.states, WAITING, 1)
    and call('ZCOUNT', bot.k.x, '-inf', query.expired_by) <= FEW then
    return numbers(call('ZRANGEBYSCORE', bot.k.x, '-inf', query.expired_by))
  elseif only(query.states, 1, 1) and call('HLEN', bot.k.f) <= FEW then
    return numbers(call('HKEYS', bot.k.f))
  elseif query.chat and only(query.states, WAITING, 1) then
    local lane = find_lane(bot, query.chat)
    if not lane then
      return {}
    elseif lane.n <= FEW then
      return all_in(bot, lane, {})
    end
  elseif only(query.states, WAITING, 1) and tonumber(call('HGET', bot.k.b, 'waiting') or 0) <= FEW then
    return all_waiting(bot)
  end
  return nil
end

local function has_all(text, pairs_wanted)
  local metadata = text and cjson.decode(text) or {}
  for _, pair in ipairs(pairs_wanted) do
    if metadata[pair[1]] ~= pair[2] then
      return false
    end
  end
  return true
end

local function has_file(files, sha256)
  for _, file in ipairs(files or {}) do
    if file[2] == sha256 then
      return true
    end
  end
  return false
end

local function set_of(list)
  local set = list and {} or nil
  for _, item in ipairs(list or {}) do
    set[item] = true
  end
  return set
end

local function read_metadata(raw)
  local _, _, _, _, _, _, _, _, _, _, _, _, _, _, metadata = cmsgpack.unpack_limit(raw, 14)
  return metadata
end

-- A function (number, as accepted, as it stands) -> chat of today and whether it is in flight; nil where it does not match.
local function tester(bot, query)
  local states, seqs = set_of(query.states), set_of(query.seqs)
  local wanted = query.chat and today(bot, query.chat)
  return function(seq, raw, stand_raw)
    local message = read_message(raw)
    local standing = stand_raw and read_standing(stand_raw) or nil
    local flying = (not standing or standing.state == WAITING) and call('HEXISTS', bot.k.f, seq) == 1
    if seqs and not seqs[seq] or states and not states[flying and 1 or standing and standing.state or WAITING] then
      return nil
    end
    local expires = message.expires
    if standing and standing.requeued then
      expires = nil
    end
    local chat = today(bot, message.chat)
    if (wanted and wanted ~= chat)
      or (query.method and query.method ~= message.method)
      or (query.priority and query.priority ~= message.prio)
      or (query.since and message.accepted < query.since)
      or (query['until'] and message.accepted >= query['until'])
      or (query.expired_by and not (expires and expires <= query.expired_by))
      or (query.key and query.key ~= message.key)
      or (query.reason and string.sub(standing and standing.reason or '', 1, #query.reason) ~= query.reason)
      or (query.file and not has_file(message.files, query.file))
      or (query.metadata and not has_all(read_metadata(raw), query.metadata)) then
      return nil
    end
    return chat, flying
  end
end
