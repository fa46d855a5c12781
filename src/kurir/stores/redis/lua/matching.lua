-- Which messages a query means.
local FEW = 3000 -- candidates that are sorted in one call at most

local function numbers(list)
  local seqs = {}
  for index, seq in ipairs(list) do
    seqs[index] = tonumber(seq)
  end
  return seqs
end

local function only(states, a, b)
  if not states then
    return false
  end
  for _, state in ipairs(states) do
    if state ~= a and state ~= b then
      return false
    end
  end
  return true
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

-- The numbers of all messages that may match, or nil: look at all there are.
local function candidates(bot, query)
  if query.ids then
    return by_ids(bot, query.ids)
  elseif query.seqs then
    return query.seqs
  elseif query.key then
    return numbers({call('HGET', bot.k.k, query.key) or nil})
  elseif query.file and call('HEXISTS', bot.k.u, query.file) == 0 then
    return {}
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
      local placed, later = waiting_in(bot, lane)
      local seqs = numbers(placed)
      for _, seq in ipairs(numbers(later)) do
        seqs[#seqs + 1] = seq
      end
      seqs[#seqs + 1] = lane.fly
      return seqs
    end
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
