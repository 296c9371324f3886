"""The Lua of dead letters. All keys of a queue have one hash tag.

KEYS of all: `order`, ids by number; `free`, those of them that nobody has; `taken`, ids by the end
of their lease; `letters`, their bytes; `of`, the kind of each and "k" and its key, when it has one;
`kinds`; `base`, what the names of all begin with; `last`, the highest number there ever was.

`base` .. "claims" has by id the claim that leased it last.

Numbers are microseconds of Redis' clock, each larger than those before: they say the order and
when something was put aside. `base` .. "kind:" .. kind and `base` .. "key:" .. key have the ids by
number as well, so that nothing is looked at that was not asked for.
"""

from __future__ import annotations

from varco_redis._link import Script

#: What the scripts share.
COMMON = """
local order, free, taken, letters, of, kinds, base, last = unpack(KEYS, 1, 8)
local claims = base .. 'claims'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
local function is_taken(id)
  local lease = redis.call('ZSCORE', taken, id)
  return lease and tonumber(lease) > now
end
local function keep(id, data, kind, what, key, number)
  number = whole(number)
  redis.call('HSET', letters, id, data)
  redis.call('ZADD', order, number, id)
  redis.call('ZADD', free, number, id)
  redis.call('HSETNX', kinds, kind, what)
  redis.call('HSET', of, id, kind .. key)
  redis.call('ZADD', base .. 'kind:' .. kind, number, id)
  if key ~= '' then redis.call('ZADD', base .. 'key:' .. string.sub(key, 2), number, id) end
end
local function forget(id)
  local known = redis.call('HGET', of, id)
  if known then
    local kind = string.sub(known, 1, 40)
    redis.call('ZREM', base .. 'kind:' .. kind, id)
    if redis.call('EXISTS', base .. 'kind:' .. kind) == 0 then redis.call('HDEL', kinds, kind) end
    if #known > 40 then redis.call('ZREM', base .. 'key:' .. string.sub(known, 42), id) end
    redis.call('HDEL', of, id)
  end
  for i = 1, 3 do redis.call('ZREM', KEYS[i], id) end
  redis.call('HDEL', claims, id)
  return redis.call('HDEL', letters, id)
end
local function give_back(id)
  local number = redis.call('ZSCORE', order, id)
  if number and redis.call('ZREM', taken, id) == 1 then redis.call('ZADD', free, number, id) end
end
local function show(found, id, number)
  local data = redis.call('HGET', letters, id)
  if not data then return 0 end
  found[#found + 1] = id
  found[#found + 1] = data
  found[#found + 1] = number
  found[#found + 1] = is_taken(id) and 1 or 0
  return 1
end
"""

# Also KEYS: the letters of the layout before. ARGV: most, or 0; id, bytes, kind, what it is of,
# "k" and the key or nothing.
PUSH = Script(
    COMMON
    + """
local most, id = tonumber(ARGV[1]), ARGV[2]
if redis.call('HEXISTS', letters, id) == 1 then return 1 end
local count = redis.call('HLEN', letters) + redis.call('HLEN', KEYS[9])
if most > 0 and count >= most then return 0 end
local number = (tonumber(redis.call('GET', last)) or 0) + 1
number = math.max(number, clock[1] * 1000000 + clock[2])
redis.call('SET', last, whole(number))
keep(id, ARGV[3], ARGV[4], ARGV[5], ARGV[6], number)
return 1
"""
)

# What these three took stands under KEYS[9] for a while, for when the call is repeated because an
# answer was lost.
# ARGV: how many, milliseconds of the lease, milliseconds of that while, which claim it is.
POP = Script(
    COMMON
    + """
local mine = redis.call('LRANGE', KEYS[9], 0, -1)
if #mine == 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', taken, '-inf', now)) do give_back(id) end
  mine = redis.call('ZRANGE', free, 0, ARGV[1] - 1)
end
local found = {}
for _, id in ipairs(mine) do
  if redis.call('ZREM', free, id) == 1 then
    redis.call('RPUSH', KEYS[9], id)
    if redis.call('HEXISTS', letters, id) == 1 then
      redis.call('ZADD', taken, whole(now + ARGV[2]), id)
      redis.call('HSET', claims, id, ARGV[4])
    else
      forget(id)
    end
  end
  show(found, id, redis.call('ZSCORE', order, id))
end
redis.call('PEXPIRE', KEYS[9], ARGV[3])
return found
"""
)

# ARGV: milliseconds of the lease, and of that while, the claim, ids. Answers what is ours, in
# order, and the ids that somebody else has.
HOLD = Script(
    COMMON
    + """
local mine, held, others = {}, {}, {}
for _, id in ipairs(redis.call('LRANGE', KEYS[9], 0, -1)) do mine[id] = true end
for i = 4, #ARGV do
  local id = ARGV[i]
  local number = redis.call('ZSCORE', order, id)
  if number then
    if mine[id] or not is_taken(id) then
      redis.call('ZREM', free, id)
      redis.call('ZADD', taken, whole(now + ARGV[1]), id)
      redis.call('HSET', claims, id, ARGV[3])
      redis.call('RPUSH', KEYS[9], id)
      held[#held + 1] = {id, number}
    else
      others[#others + 1] = id
    end
  end
end
redis.call('PEXPIRE', KEYS[9], ARGV[2])
table.sort(held, function(a, b) return tonumber(a[2]) < tonumber(b[2]) end)
local found = {}
for _, one in ipairs(held) do show(found, one[1], one[2]) end
return {found, others}
"""
)

# ARGV: milliseconds of that while, ids. Answers what it removed, and what somebody has.
DISCARD = Script(
    COMMON
    + """
local mine, done, others = {}, {}, {}
for _, id in ipairs(redis.call('LRANGE', KEYS[9], 0, -1)) do mine[id] = true end
for i = 2, #ARGV do
  local id = ARGV[i]
  if mine[id] then
    done[#done + 1] = id
  elseif redis.call('ZSCORE', order, id) then
    if is_taken(id) then
      others[#others + 1] = id
    else
      forget(id)
      redis.call('RPUSH', KEYS[9], id)
      done[#done + 1] = id
    end
  end
end
redis.call('PEXPIRE', KEYS[9], ARGV[1])
return {done, others}
"""
)

# ARGV: how many to forget, these, and those to give back, each with its claim.
SETTLE = Script(
    COMMON
    + """
local behind = ARGV[1] + 2
for i = 2, behind - 1 do forget(ARGV[i]) end
for i = behind, #ARGV, 2 do
  if redis.call('HGET', claims, ARGV[i]) == ARGV[i + 1] then give_back(ARGV[i]) end
end
"""
)

# ARGV: id, and of which claim, or nothing.
NACK = Script(
    COMMON
    + """
local claim = ARGV[2]
if claim == '' or redis.call('HGET', claims, ARGV[1]) == claim then give_back(ARGV[1]) end
"""
)

# Also KEYS: `damaged`. ARGV: id.
SET_ASIDE = Script(
    COMMON
    + """
local data = redis.call('HGET', letters, ARGV[1])
forget(ARGV[1])
if data then redis.call('HSET', KEYS[9], ARGV[1], data) end
"""
)

# ARGV: id.
GET = Script(
    COMMON
    + """
local found = {}
local number = redis.call('ZSCORE', order, ARGV[1])
if number then show(found, ARGV[1], number) end
return found
"""
)

# In the same form for every version of the protocol.
KINDS = Script(COMMON + "return redis.call('HGETALL', kinds)")

CLOCK = Script("return redis.call('TIME')")

# ARGV: "REV" or nothing, the number to begin at and the one to end at, how many, "k" and the key or
# nothing, and kinds, none for all. With kinds alone, what comes first is the first of one of them:
# they stand sorted by what is next of each, the very next at the end.
FIND = Script(
    COMMON
    + """
local command = 'Z' .. ARGV[1] .. 'RANGEBYSCORE'
local from, to, most, key = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local found, n = {}, 0
local function reader(name)
  local read, at, size, start = {}, 1, 1, from
  return function()
    if at > #read then
      if #read > 0 and #read < 2 * size then return nil end
      size = math.min(2 * size, most)
      read = redis.call(command, name, start, to, 'WITHSCORES', 'LIMIT', 0, size)
      if #read == 0 then return nil end
      at, start = 1, '(' .. read[#read]
    end
    at = at + 2
    return read[at - 2], read[at - 1]
  end
end
if key ~= '' or #ARGV < 6 then
  local wanted = {}
  for i = 6, #ARGV do wanted[ARGV[i]] = true end
  local next_one = reader(key == '' and order or base .. 'key:' .. string.sub(key, 2))
  local id, number = next_one()
  while id and n < most do
    if #ARGV < 6 or wanted[string.sub(redis.call('HGET', of, id) or '', 1, 40)] then
      n = n + show(found, id, number)
    end
    id, number = next_one()
  end
  return found
end
local later = ARGV[1] == '' and function(a, b) return a.number > b.number end
  or function(a, b) return a.number < b.number end
local heads = {}
local function ahead(one)
  local id, number = one.next_one()
  one.id, one.number = id, tonumber(number)
  return id
end
for i = 6, #ARGV do
  local one = {next_one = reader(base .. 'kind:' .. ARGV[i])}
  if ahead(one) then heads[#heads + 1] = one end
end
table.sort(heads, later)
while #heads > 0 and n < most do
  local one = table.remove(heads)
  n = n + show(found, one.id, whole(one.number))
  if ahead(one) then
    local low, high = 1, #heads + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if later(heads[middle], one) then low = middle + 1 else high = middle end
    end
    table.insert(heads, low, one)
  end
end
return found
"""
)

# ARGV: the lowest and the highest number, how many edges, these in order, and kinds. Answers for
# each kind that there is the first and the last number, and how many are in each stretch.
COUNT = Script(
    COMMON
    + """
local low, high, before, answer = ARGV[1], ARGV[2], {}, {}
for i = 1, tonumber(ARGV[3]) do before[i] = '(' .. ARGV[3 + i] end
for i = 4 + #before, #ARGV do
  local set, found = base .. 'kind:' .. ARGV[i], {}
  local count = redis.call('ZCOUNT', set, low, high)
  if count > 0 then
    local rank = redis.call('ZCOUNT', set, '-inf', '(' .. low)
    local function at(place) return redis.call('ZRANGE', set, place, place, 'WITHSCORES')[2] end
    found[1], found[2] = at(rank), at(rank + count - 1)
    local behind = 0
    for stretch = 1, #before do
      local so_far = behind
      if so_far < count then
        so_far = math.min(count, redis.call('ZCOUNT', set, low, before[stretch]))
      end
      found[#found + 1], behind = so_far - behind, so_far
    end
    found[#found + 1] = count - behind
  end
  answer[#answer + 1] = found
end
return answer
"""
)

# The same with a key, of which all are looked at. ARGV: "k" and the key, the numbers, the edges,
# and kinds.
COUNT_KEY = Script(
    COMMON
    + """
local index, answer, edges, stretch = {}, {}, {}, 3
for i = 1, tonumber(ARGV[4]) do edges[i] = tonumber(ARGV[4 + i]) end
for i = 5 + #edges, #ARGV do
  answer[#answer + 1] = {}
  index[ARGV[i]] = answer[#answer]
end
local set = base .. 'key:' .. string.sub(ARGV[1], 2)
local ids = redis.call('ZRANGEBYSCORE', set, ARGV[2], ARGV[3], 'WITHSCORES')
for i = 1, #ids, 2 do
  local number = ids[i + 1]
  local found = index[string.sub(redis.call('HGET', of, ids[i]) or '', 1, 40)]
  while edges[stretch - 2] and edges[stretch - 2] <= tonumber(number) do stretch = stretch + 1 end
  if found then
    if #found == 0 then
      found[1] = number
      for place = 3, 3 + #edges do found[place] = 0 end
    end
    found[2], found[stretch] = number, found[stretch] + 1
  end
end
return answer
"""
)
