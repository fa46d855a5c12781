-- Numbers are noted a block at a time; here they are gone through in their order. `blocks`: the sorted set that names them; `read`
-- answers for a piece of numbers a function that makes the row of one (by its place), or nothing. Answers where to go on ('' when
-- all was looked at) and the rows.
local PIECE = 128

local function through_blocks(blocks, from, limit, work, read)
  local found = {}

  local function look_at(block)
    local at, last = math.max(block * BLOCK, from), block * BLOCK + BLOCK - 1
    while at <= last do
      local numbers = {}
      for number = at, math.min(at + PIECE - 1, last) do
        numbers[#numbers + 1] = number
      end
      local row_of = read(numbers)
      for place, number in ipairs(numbers) do
        local row = row_of(place)
        if row then
          found[#found + 1] = row
          if #found >= limit then
            return number + 1
          end
        end
      end
      work, at = work - #numbers, at + #numbers
      if work <= 0 then
        return at
      end
    end
  end

  local bound = math.floor(from / BLOCK)
  while true do
    local next_ones = call('ZRANGEBYSCORE', blocks, bound, '+inf', 'LIMIT', 0, 8)
    if #next_ones == 0 then
      return {'', found}
    end
    for _, block in ipairs(next_ones) do
      local stop = look_at(tonumber(block))
      if stop then
        return {exact(stop), found}
      end
      bound = tonumber(block) + 1
    end
  end
end
