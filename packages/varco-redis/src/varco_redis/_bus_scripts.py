"""The bus's Lua. All keys of one call belong to one channel.

`base` .. number is the stream of a partition. A partition has one owner in a group, a process that
has said that it lives; only the owner takes events from it, since taking them checks that in the
same step. `owners` holds "process fence milliseconds" for each partition.
"""

from __future__ import annotations

from varco_redis._link import Script

_NOW = """
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""
# Drops what every group has handled; without a group, what is more than `most`.
_TRIM = """
local function before(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end
local function parsed(id)
  local ms, n = string.match(id, '(%d+)-(%d+)')
  return {tonumber(ms), tonumber(n)}
end
local function trim(stream, most, keep_ms)
  local groups = redis.call('XINFO', 'GROUPS', stream)
  if #groups == 0 then return redis.call('XTRIM', stream, 'MAXLEN', '~', most) end
  local least
  for _, flat in ipairs(groups) do
    local g = {}
    for i = 1, #flat, 2 do g[flat[i]] = flat[i + 1] end
    local id
    if g['pending'] > 0 then
      id = parsed(redis.call('XPENDING', stream, g['name'])[2])
    else
      id = parsed(g['last-delivered-id'])
      id[2] = id[2] + 1
    end
    if not least or before(id, least) then least = id end
  end
  if keep_ms > 0 then
    local old = {now_ms() - keep_ms, 0}
    if before(old, least) then least = old end
  end
  return redis.call('XTRIM', stream, 'MINID', string.format('%.0f-%.0f', least[1], least[2]))
end
"""

# KEYS: config, base. ARGV: most; then hash, how many words, and the fields and values of each.
# Answers how many were taken before the first that was not; -1 when Redis does not know the
# channel (any more).
PUBLISH = Script(
    _NOW
    + _TRIM
    + """
local config = redis.call('HGET', KEYS[1], 'partitions')
if not config then return -1 end
local n, most = tonumber(config), tonumber(ARGV[1])
local taken, i = 0, 2
while i < #ARGV do
  local stream = KEYS[2] .. string.format('%.0f', ARGV[i] % n)
  if redis.call('XLEN', stream) >= most then
    trim(stream, most, 0)
    local groups = redis.call('XINFO', 'GROUPS', stream)
    if #groups > 0 and redis.call('XLEN', stream) >= most then return taken end
  end
  local last = i + 1 + ARGV[i + 1]
  redis.call('XADD', stream, '*', unpack(ARGV, i + 2, last))
  taken, i = taken + 1, last + 1
end
return taken
"""
)

# What a process goes on with that let a partition go: "h", the partition, ":" and the event, with
# "process milliseconds key". Nobody else handles it, nor anything of its key, while the process
# says that it lives.
_HOLDS = """
local function hold(owners, me, expires, first)
  for i = first, #ARGV, 2 do
    local value = string.format('%s %.0f ', me, expires) .. ARGV[i + 1]
    redis.call('HSET', owners, 'h' .. ARGV[i], value)
  end
end
local function held(owners, name, me)
  local now, found, start = now_ms(), {}, 'h' .. name .. ':'
  local flat = redis.call('HGETALL', owners)
  for i = 1, #flat, 2 do
    if string.sub(flat[i], 1, #start) == start then
      local owner, expires, key = string.match(flat[i + 1], '^(%S+) (%d+) (.*)$')
      if tonumber(expires) <= now then
        redis.call('HDEL', owners, flat[i])
      elseif owner ~= me then
        found[#found + 1] = string.sub(flat[i], #start + 1)
        found[#found + 1] = key
      end
    end
  end
  return found
end
"""

# KEYS: config, base, members, owners. ARGV: partitions by default, group, process, milliseconds,
# the partitions that it lets go, each between commas; then what it holds: partition and event with
# a colon between, and key, of each. Answers the fence of each partition that it has, negative when
# another should have it, 0 for those it has not.
COORDINATE = Script(
    _NOW
    + _HOLDS
    + """
local base, members, owners = KEYS[2], KEYS[3], KEYS[4]
local group, me, life = ARGV[2], ARGV[3], tonumber(ARGV[4])
redis.call('HSETNX', KEYS[1], 'partitions', ARGV[1])
local n = tonumber(redis.call('HGET', KEYS[1], 'partitions'))
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', members, '-inf', now)
redis.call('ZADD', members, now + life, me)
redis.call('PEXPIRE', members, 100 * life)
hold(owners, me, now + life, 6)
local all = redis.call('ZRANGE', members, 0, -1)
local rank = {}
for _, one in ipairs(all) do rank[one] = redis.sha1hex(base .. one) end
table.sort(all, function(a, b) return rank[a] < rank[b] end)
local answer = {}
for p = 0, n - 1 do
  local name = string.format('%d', p)
  redis.pcall('XGROUP', 'CREATE', base .. name, group, '0', 'MKSTREAM')
  local owner, fence, expires
  local had = redis.call('HGET', owners, name)
  if had then owner, fence, expires = string.match(had, '^(%S+) (%d+) (%d+)$') end
  if owner == me and string.find(ARGV[5], ',' .. name .. ',', 1, true) then
    redis.call('HDEL', owners, name)
    owner = nil
  end
  local wanted = all[p % #all + 1] == me
  local value = 0
  if owner == me and tonumber(expires) > now then
    value = wanted and tonumber(fence) or -tonumber(fence)
  elseif wanted and (not owner or tonumber(expires) <= now) then
    value = redis.call('HINCRBY', owners, 'fence', 1)
    fence = string.format('%.0f', value)
  end
  if value ~= 0 then
    redis.call('HSET', owners, name, string.format('%s %s %.0f', me, fence, now + life))
  end
  answer[p + 1] = value
end
return answer
"""
)

# KEYS: members, owners. ARGV: process, milliseconds; then what it still holds.
LEAVE = Script(
    _NOW
    + _HOLDS
    + """
redis.call('ZREM', KEYS[1], ARGV[1])
local flat = redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  if string.sub(flat[i + 1], 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
    redis.call('HDEL', KEYS[2], flat[i])
  end
end
hold(KEYS[2], ARGV[1], now_ms() + ARGV[2], 3)
"""
)

# KEYS: owners. ARGV: process, partition. Answers what others hold: event and key of each.
HELD = Script(_NOW + _HOLDS + "return held(KEYS[1], ARGV[2], ARGV[1])")

_OWNED = (
    _NOW
    + """
local function owned(owners, name, me, fence)
  local had = redis.call('HGET', owners, name)
  if not had then return false end
  local owner, number, expires = string.match(had, '^(%S+) (%d+) (%d+)$')
  return owner == me and number == fence and tonumber(expires) > now_ms()
end
"""
)

# KEYS: owners, base. ARGV: group, consumer, process; then partition, fence, how many and how many
# begin at once of each. Answers for each its new events, and the ids of those whose first attempt
# is counted: the first of a key alone; or nothing when the partition is not ours any more.
TAKE = Script(
    _OWNED
    + """
local answer = {}
for i = 4, #ARGV, 4 do
  local found = false
  if owned(KEYS[1], ARGV[i], ARGV[3], ARGV[i + 1]) then
    local stream, left = KEYS[2] .. ARGV[i], tonumber(ARGV[i + 3])
    local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[i + 2],
      'STREAMS', stream, '>')
    local entries, keys, begun = read and read[1][2] or {}, {}, {}
    for _, entry in ipairs(entries) do
      if left == 0 then break end
      local key
      for f = 1, #entry[2], 2 do
        if entry[2][f] == 'k' then key = entry[2][f + 1] break end
      end
      if not key or not keys[key] then
        if key then keys[key] = true end
        begun[#begun + 1] = entry[1]
        left = left - 1
      end
    end
    if #begun > 0 then
      local claim = {stream, ARGV[1], ARGV[2], 0}
      for _, id in ipairs(begun) do claim[#claim + 1] = id end
      claim[#claim + 1] = 'RETRYCOUNT'
      claim[#claim + 1] = 2
      claim[#claim + 1] = 'JUSTID'
      redis.call('XCLAIM', unpack(claim))
    end
    found = {entries, begun}
  end
  answer[#answer + 1] = found
end
return answer
"""
)

# An event's attempts in Redis are one less than how often it was delivered: taking it is no
# attempt, and what is begun is counted before.
# KEYS: owners, base. ARGV: group, consumer, process; then partition, fence, event, how often it
# was delivered after this, and whether its fields are wanted, of each. Answers for each nothing
# when the partition is not ours any more, else its fields, or none.
COUNT = Script(
    _OWNED
    + """
local answer, mine = {}, {}
for i = 4, #ARGV, 5 do
  local name, found = ARGV[i], false
  if mine[name] == nil then mine[name] = owned(KEYS[1], name, ARGV[3], ARGV[i + 1]) end
  if mine[name] then
    local stream, id = KEYS[2] .. name, ARGV[i + 2]
    redis.call('XCLAIM', stream, ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', ARGV[i + 3], 'JUSTID')
    found = {}
    if ARGV[i + 4] == '1' then
      local entry = redis.call('XRANGE', stream, id, id)[1]
      found = entry and entry[2] or {}
    end
  end
  answer[#answer + 1] = found
end
return answer
"""
)

# Takes attempts back that are known to be none, unless somebody has counted another since; for
# that nobody need own the partition any more.
# KEYS: stream. ARGV: group; then event and how often it was delivered with that attempt, of each.
UNCOUNT = Script("""
for i = 2, #ARGV, 2 do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  if pending and pending[4] == tonumber(ARGV[i + 1]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], pending[2], 0, ARGV[i], 'RETRYCOUNT', pending[4] - 1,
      'JUSTID')
  end
end
""")

# KEYS: owners, stream. ARGV: group, consumer, process, partition, fence, where to begin, count.
# Answers where to go on, the events that were taken but not acknowledged, how often each was
# delivered, the last one that was taken at all, and what others hold; nothing when the partition
# is not ours.
CLAIM = Script(
    _OWNED
    + _HOLDS
    + """
if not owned(KEYS[1], ARGV[4], ARGV[3], ARGV[5]) then return false end
local stream, group = KEYS[2], ARGV[1]
local claimed = redis.call('XAUTOCLAIM', stream, group, ARGV[2], 0, ARGV[6], 'COUNT', ARGV[7],
  'JUSTID')
local entries, times = {}, {}
for _, id in ipairs(claimed[2]) do
  local entry = redis.call('XRANGE', stream, id, id)[1]
  local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
  if entry and pending then
    entries[#entries + 1] = entry
    times[#entries] = pending[4]
  else
    redis.call('XACK', stream, group, id)
  end
end
local last = '0-0'
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local g = {}
  for i = 1, #flat, 2 do g[flat[i]] = flat[i + 1] end
  if g['name'] == group then last = g['last-delivered-id'] end
end
return {claimed[1], entries, times, last, held(KEYS[1], ARGV[4], ARGV[3])}
"""
)

# KEYS: config, stream. ARGV: most without a group.
TRIM = Script(
    _NOW
    + _TRIM
    + """
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
return trim(KEYS[2], ARGV[1], tonumber(redis.call('HGET', KEYS[1], 'retention') or 0))
"""
)

# KEYS: consumers. ARGV: name, process, milliseconds. Answers the first name that is free or ours.
NAME = Script(
    _NOW
    + """
local now = now_ms()
for i = 1, 100000 do
  local name = ARGV[1] .. '-' .. i
  local held = redis.call('HGET', KEYS[1], name)
  local process, expires
  if held then process, expires = string.match(held, '^(%S+) (%d+)$') end
  if not process or process == ARGV[2] or tonumber(expires) <= now then
    redis.call('HSET', KEYS[1], name, string.format('%s %.0f', ARGV[2], now + ARGV[3]))
    return name
  end
end
"""
)

# KEYS: consumers. ARGV: name, process. A name that is ours is free again.
UNNAME = Script("""
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and string.match(held, '^(%S+)') == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
""")
