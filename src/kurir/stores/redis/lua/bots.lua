-- Bots and their keys. Everything of a bot has the bot's id as its hash tag, so that a cluster keeps it in one place.
-- What a script changes is gathered in memory and written once, by `flush`.
--
--   b     hash    lease (holder, token, until), pause (paused, why), counts, `calls`, `pos`
--   m     hash    order number -> the message as it was accepted; never changes
--   s     hash    order number -> how it stands; nothing as long as it waits untouched
--   i     hash    id -> order number                 k     hash    idempotency key -> order number
--   c     hash    chat -> number of its lane         v     hash    former name of a chat -> the next one
--   l     hash    number of a lane -> the lane       f     hash    order number in flight -> token, lane, call
--   r0-r3 zset    lanes with a head and nothing in flight, by when it may leave; one a priority
--   w     zset    lanes with nothing in flight, by when the first of its messages for later may leave
--   t     zset    messages for later, by due_at      x     zset    waiting messages that expire, by when
--   e, ek zset    ended messages, by when; `ek` those with an idempotency key
--   s3-s5 zset    those that ended dead, cancelled, expired, by order number
--   q:N   zset    lane N: messages that hold a place, by priority and place; while there is one, the lane names it
--   d:N   zset    lane N: messages for later, by due_at; likewise
--   g     zset    what waits and has a target, by lane, message id in `target`, and place; see `about`
--   z     zset    suppressed lanes, by since when     h     zset    the last minute's attempts
--   o     hash    sha256 -> file_ids                  u     hash    sha256 -> messages that need it
--   y     hash    day:state -> messages that ended   yz    zset    the days
--   n, nz, ln, lnz  which blocks of order numbers hold messages, and which lanes: see `note`
--   a:N   string  what a call answered, for a while
local call = redis.call
local PREFIX, REGISTRY = ARGV[1], ARGV[2] -- REGISTRY: the set of all bots; '' in a cluster, where another node has it
local BLOCK = 1024
local CHUNK = 2000 -- arguments of one command at most; Lua's stack holds some 8,000
local WAITING, DELIVERED, DEAD, CANCELLED, EXPIRED = 0, 2, 3, 4, 5
local bots, in_order = {}, {}

local function bot_of(id)
  local bot = bots[id]
  if not bot then
    local prefix = PREFIX .. '{' .. id .. '}:'
    local keys = setmetatable({}, {__index = function(keys, name)
      local key = prefix .. name
      rawset(keys, name, key)
      return key
    end})
    bot = {id = id, k = keys, lanes = {}, dirty = {}, chats = {}, counts = {}, messages = {}, standings = {}, changed = {},
      by_id = {}, by_key = {}, flights = {}, blocks = {n = {}, ln = {}}, days = {}, hashes = {}, zsets = {}}
    bots[id] = bot
    in_order[#in_order + 1] = bot
  end
  return bot
end

-- A number as text, exactly. Many are the same as the last.
local last_number, last_text
local function exact(number)
  if number ~= last_number then
    last_number, last_text = number, string.format('%.17g', number)
  end
  return last_text
end

-- Up to 15 values one after the other, as `cmsgpack.unpack` takes them apart; what is not there has to be told as false. (Packed
-- as a list, of which the first byte is left out: that takes half the time.)
local function packed(values)
  return string.sub(cmsgpack.pack(values), 2)
end

-- Numbers that sort as text.
local function padded(number)
  return string.format('%012.0f', number)
end

-- Run a command over a list of arguments that may be long; `step` arguments belong together.
local function many(command, key, list, step)
  local size = CHUNK - CHUNK % step
  for first = 1, #list, size do
    call(command, key, unpack(list, first, math.min(first + size - 1, #list)))
  end
end

-- The values of these fields (or nothing where there is none), as one list.
local function fetch(key, fields)
  local values = {}
  for first = 1, #fields, CHUNK do
    local last = math.min(first + CHUNK - 1, #fields)
    local piece = call('HMGET', key, unpack(fields, first, last))
    for index = 1, last - first + 1 do
      values[first + index - 1] = piece[index]
    end
  end
  return values
end

-- When the script ends, the field of a hash has this value, or (nil) is gone.
local function put(bot, hash, field, value)
  local fields = bot.hashes[hash]
  if not fields then
    fields = {}
    bot.hashes[hash] = fields
  end
  fields[field] = value or false
end

-- When the script ends, the member of a sorted set has this score, or (nil) is gone.
local function rank(bot, zset, member, score)
  local members = bot.zsets[zset]
  if not members then
    members = {}
    bot.zsets[zset] = members
  end
  members[member] = score or false
end

local function count(bot, name, n)
  bot.counts[name] = (bot.counts[name] or 0) + n
end

-- One more or less of what has that number, in its block of numbers: whoever looks through all of them skips empty ones.
local function note(bot, kind, number, n)
  local blocks, block = bot.blocks[kind], math.floor(number / BLOCK)
  blocks[block] = (blocks[block] or 0) + n
end

-- Where the bot may not be known yet. Outside a cluster; in one, the client sees to it.
local function register(bot)
  if REGISTRY ~= '' and not bot.registered then
    bot.registered = true
    call('SADD', REGISTRY, bot.id)
  end
end

-- From here on the script may write though memory is full: Redis refuses only a script that has not written yet.
local function despite_full(bot)
  if not bot.despite_full then
    bot.despite_full = true
    call('HDEL', bot.k.b, '')
  end
end

-- The time that leases are judged by: the server's, or the caller's.
local function clock(own, now)
  if own ~= '1' then
    return now
  end
  local time = call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

-- What `look` answers for each of the bots in ARGV[3].
local function for_each_bot(look)
  local answers = {}
  for id in string.gmatch(ARGV[3], '[^,]+') do
    answers[#answers + 1] = look(bot_of(id))
  end
  return answers
end

local function flush_hashes(bot)
  for hash, fields in pairs(bot.hashes) do
    local set, gone = {}, {}
    for field, value in pairs(fields) do
      if value then
        set[#set + 1], set[#set + 2] = field, value
      else
        gone[#gone + 1] = field
      end
    end
    many('HSET', bot.k[hash], set, 2)
    many('HDEL', bot.k[hash], gone, 1)
  end
  bot.hashes = {}
end

local function flush_zsets(bot)
  for zset, members in pairs(bot.zsets) do
    local set, gone = {}, {}
    for member, score in pairs(members) do
      if score then
        set[#set + 1], set[#set + 2] = exact(score), member
      else
        gone[#gone + 1] = member
      end
    end
    many('ZADD', bot.k[zset], set, 2)
    many('ZREM', bot.k[zset], gone, 1)
  end
  bot.zsets = {}
end

local function flush_blocks(bot, kind)
  for block, n in pairs(bot.blocks[kind]) do
    if n ~= 0 then
      local left = call('HINCRBY', bot.k[kind], block, n)
      if left <= 0 then
        call('HDEL', bot.k[kind], block)
        call('ZREM', bot.k[kind .. 'z'], block)
      elseif left == n then
        call('ZADD', bot.k[kind .. 'z'], block, block)
      end
    end
  end
end

local function flush_counts(bot)
  for name, n in pairs(bot.counts) do
    if n ~= 0 then
      call('HINCRBY', bot.k.b, name, n)
    end
  end
  for field, n in pairs(bot.days) do
    if call('HINCRBY', bot.k.y, field, n) == n then
      local day = string.sub(field, 1, 10)
      call('ZADD', bot.k.yz, (string.gsub(day, '-', '')), day)
    end
  end
  if bot.pos then
    call('HSET', bot.k.b, 'pos', exact(bot.pos))
  end
end
