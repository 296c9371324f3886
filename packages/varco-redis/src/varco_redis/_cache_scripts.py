"""The cache's Lua: entries, leases and generations, each operation one step for everybody.

An entry:   "vrc1" stamp:8 written:double expires:double tags:u16 codec:u8 length:u32 tags payload
A lease:    "vrcL" owner:8 token:16 written:double tags
A tag in either: length:u16 and its bytes.

Beside them lies one hash, the meta key, with a number `s` that every invalidation counts up:
`e` the epoch (what was written before is forgotten), `t<tag>` and `p<prefix>` when they were last
invalidated, `pl` the lengths and `ps` the list of the prefixes, `i` the run of the server. When it
has too many tags it becomes the old one (`r` says when), and the one that was old is forgotten: of
what was written before (`f`), entries with tags are dead. A meta key that is lost makes everything
dead, since a new one counts from the time of day.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from varco_redis._link import Script

MOST_PREFIXES = 500
MOST_LENGTHS = 32
MOST_TAGS = 1000

# Each script begins with those of these that it calls: a closure costs a little in every call.
_NUMBER = """
local function number(n) return string.format('%%.0f', n) end
"""
_NOW = """
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""
_CURRENT = """
local function current(meta)
  local s = redis.call('HGET', meta, 's')
  if s then return tonumber(s) end
  local t = redis.call('TIME')
  s = string.format('%%.0f', t[1] * 1000000 + t[2])
  redis.call('DEL', meta .. ':old')
  redis.call('HSET', meta, 's', s, 'e', s)
  return tonumber(s)
end
"""
# Whether nothing was invalidated since `w` that an entry belongs to; nil for tags that are none.
_SPARED = """
local function header(meta) return redis.call('HMGET', meta, 'e', 'pl', 'r', 'f') end
local function spared(meta, h, key, w, tags)
  if not h[1] or w < tonumber(h[1]) then return false end
  if tags ~= '' then
    local names, at = {}, 1
    while at <= #tags do
      local size = at < #tags and struct.unpack('>H', tags, at) or #tags
      local tag = string.sub(tags, at + 2, at + 1 + size)
      if #tag < size or #names == %(tags)d then return nil end
      names[#names + 1] = 't' .. tag
      at = at + 2 + size
    end
    if h[4] and w < tonumber(h[4]) then return false end
    for _, n in ipairs(redis.call('HMGET', meta, unpack(names))) do
      if n and w < tonumber(n) then return false end
    end
    if h[3] and w < tonumber(h[3]) then
      local old = meta .. ':old'
      if redis.call('EXISTS', old) == 0 then return false end
      for _, n in ipairs(redis.call('HMGET', old, unpack(names))) do
        if n and w < tonumber(n) then return false end
      end
    end
  end
  if h[2] then
    for length in string.gmatch(h[2], '%%d+') do
      local n = redis.call('HGET', meta, 'p' .. string.sub(key, %(base)d + 1, %(base)d + length))
      if n and w < tonumber(n) then return false end
    end
  end
  return true
end
"""
# Whether an entry is alive; then, whether it is damaged. What is dead is freed.
_LIVING = """
local function living(meta, h, now, key, v)
  if string.sub(v, 1, 4) ~= 'vrc1' or #v < 35 then return false, string.sub(v, 1, 4) ~= 'vrcL' end
  local w, expires, ntags, codec, length = struct.unpack('>ddHBI4', v, 13)
  if #v ~= 35 + ntags + length then return false, true end
  if expires == 0 or expires > now then
    local alive = spared(meta, h, key, w, string.sub(v, 36, 35 + ntags))
    if alive or alive == nil then return alive, true end
  end
  redis.call('UNLINK', key)
  return false, false
end
"""
_WRITE = """
local function write(key, w, head, tail, ttl)
  local px = tonumber(ttl)
  if px > 0 then
    redis.call('SET', key, head .. struct.pack('>dd', w, now_ms() + px) .. tail, 'PX', ttl)
  else
    redis.call('SET', key, head .. struct.pack('>dd', w, 0) .. tail)
  end
end
"""
# Whether what was there when a load of this lease began still is, and nothing was invalidated.
_HELD = """
local function held(key, meta, kind, mark, w, tags, late)
  local v = redis.call('GET', key)
  if not v then return false end
  if kind == 'v' then
    if string.sub(v, 1, 12) ~= 'vrc1' .. mark then return false end
  elseif string.sub(v, 1, 28) ~= 'vrcL' .. mark then
    return false
  end
  if late == '1' and w ~= tonumber(redis.call('HGET', meta, 's') or -1) then return false end
  return spared(meta, header(meta), key, w, tags)
end
"""

# Entries go to the reader as they are; 0 says that what is there is damaged.
_GET = """
local v = redis.call('GET', KEYS[1])
if not v then return false end
local alive, bad = living(KEYS[2], header(KEYS[2]), now_ms(), KEYS[1], v)
return alive and v or bad and 0
"""

# The last answer is the time. Most entries have no tags, and are not worth a call of `living`.
_GET_MANY = """
local meta = KEYS[1]
local h, now = header(meta), now_ms()
local values = redis.call('MGET', unpack(KEYS, 2))
local sub, unpacked = string.sub, struct.unpack
local epoch = not h[2] and tonumber(h[1]) or math.huge
for i = 1, #values do
  local v = values[i]
  if v then
    local plain = false
    if #v >= 35 and sub(v, 1, 4) == 'vrc1' then
      local w, expires, ntags, codec, length = unpacked('>ddHBI4', v, 13)
      plain = w >= epoch and ntags == 0 and #v == 35 + length and (expires == 0 or expires > now)
    end
    if not plain then
      local alive, bad = living(meta, h, now, KEYS[i + 1], v)
      if not alive then values[i] = bad and 0 end
    end
  end
end
values[#values + 1] = now
return values
"""

_SET = """
write(KEYS[1], current(KEYS[2]), ARGV[1], ARGV[2], ARGV[3])
"""

_SET_MANY = """
local s = current(KEYS[1])
for i = 2, #KEYS do write(KEYS[i], s, ARGV[2 * i - 2], ARGV[2 * i - 1], ARGV[1]) end
"""

# ARGV: the limit of generations, "c", "t" or "p", and the tags or the prefix.
_INVALIDATE = """
local meta = KEYS[1]
current(meta)
local s = redis.call('HINCRBY', meta, 's', 1)
local text = number(s)
local notes = KEYS[2]
local function forget_all()
  local run = redis.call('HGET', meta, 'i')
  redis.call('DEL', meta, meta .. ':old')
  redis.call('HSET', meta, 's', text, 'e', text)
  if run then redis.call('HSET', meta, 'i', run) end
  redis.call('SET', notes .. 'c', '', 'PX', 1000)
end
if ARGV[2] == 'c' then
  forget_all()
elseif ARGV[2] == 't' then
  for i = 3, #ARGV do
    redis.call('HSET', meta, 't' .. ARGV[i], text)
    redis.call('SET', notes .. 't' .. ARGV[i], '', 'PX', 1000)
  end
  if redis.call('HLEN', meta) > tonumber(ARGV[1]) / 2 then
    local h = redis.call('HMGET', meta, 's', 'e', 'i', 'pl', 'ps', 'r')
    redis.call('RENAME', meta, meta .. ':old')
    redis.call('HSET', meta, 's', h[1], 'e', h[2], 'r', text)
    if h[3] then redis.call('HSET', meta, 'i', h[3]) end
    if h[6] then redis.call('HSET', meta, 'f', h[6]) end
    if h[4] then
      redis.call('HSET', meta, 'pl', h[4], 'ps', h[5])
      for _, p in ipairs(cmsgpack.unpack(h[5])) do
        redis.call('HSET', meta, 'p' .. p, redis.call('HGET', meta .. ':old', 'p' .. p))
      end
    end
  end
else
  local p = ARGV[3]
  redis.call('SET', notes .. 'p' .. p, '', 'PX', 1000)
  if redis.call('HSET', meta, 'p' .. p, text) == 1 then
    local h = redis.call('HMGET', meta, 'pl', 'ps')
    local known = h[2] and cmsgpack.unpack(h[2]) or {}
    known[#known + 1] = p
    local lengths, seen, count = {}, {}, 0
    for _, one in ipairs(known) do
      if not seen[#one] then
        seen[#one] = true
        count = count + 1
        lengths[count] = #one
      end
    end
    if #known > %(prefixes)d or count > %(lengths)d then
      forget_all()
    else
      redis.call('HSET', meta, 'ps', cmsgpack.pack(known), 'pl', table.concat(lengths, ','))
    end
  end
end
"""

# ARGV: owner, token, milliseconds, tags, whether to take it from another process. Answers what is
# there, the count and the stamp:
# "v" a value, "w" the lease of another process, "l" the lease that was just written.
_LEASE = """
local key, meta = KEYS[1], KEYS[2]
local s = current(meta)
local v = redis.call('GET', key)
if v then
  local h = header(meta)
  if string.sub(v, 1, 4) == 'vrcL' and #v >= 36 then
    local w = struct.unpack('>d', v, 29)
    if ARGV[5] == '0' and string.sub(v, 5, 12) ~= ARGV[1]
      and spared(meta, h, key, w, string.sub(v, 37)) then
      return {'w', number(s), ''}
    end
  elseif living(meta, h, now_ms(), key, v) then
    return {'v', number(s), string.sub(v, 5, 12)}
  end
end
local lease = 'vrcL' .. ARGV[1] .. ARGV[2] .. struct.pack('>d', s) .. ARGV[4]
redis.call('SET', key, lease, 'PX', ARGV[3])
return {'l', number(s), ''}
"""

_HOLDS = """
return held(KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], '0') and 1 or 0
"""

_FILL = """
if not held(KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]) then
  return 0
end
write(KEYS[1], current(KEYS[2]), ARGV[6], ARGV[7], ARGV[8])
return 1
"""

# ARGV: the lease's mark and, to keep it, milliseconds.
_RELEASE = """
local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, 1, 28) ~= 'vrcL' .. ARGV[1] then return 0 end
if ARGV[2] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('DEL', KEYS[1])
"""

# A server that is not the one of before may have lost the last invalidations.
_GREET = """
local meta = KEYS[1]
local run = redis.call('HGET', meta, 'i')
if run == ARGV[1] then return 0 end
current(meta)
if run then
  local s = number(redis.call('HINCRBY', meta, 's', 1))
  redis.call('DEL', meta, meta .. ':old')
  redis.call('HSET', meta, 's', s, 'e', s)
  redis.call('SET', KEYS[2] .. 'c', '', 'PX', 1000)
end
redis.call('HSET', meta, 'i', ARGV[1])
return 1
"""

# Something else under our keys is of no use to anybody who reads a cache. ARGV: whether the numbers
# in the meta key are none.
_REPAIR = """
local meta = KEYS[1]
local done = 0
if ARGV[1] == '1' then done = redis.call('DEL', meta, meta .. ':old') end
for _, key in ipairs({meta, meta .. ':old'}) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then done = done + redis.call('DEL', key) end
end
if done > 0 then redis.call('DEL', meta) end
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'string' and kind ~= 'none' then done = done + redis.call('UNLINK', KEYS[i]) end
end
return done
"""

# KEYS: meta and entries; frees those that are dead.
_SWEEP = """
local meta, freed = KEYS[1], 0
local h = header(meta)
for i = 2, #KEYS do
  local v = redis.call('GETRANGE', KEYS[i], 0, 34)
  if string.sub(v, 1, 4) == 'vrc1' and #v == 35 then
    local w, expires, ntags = struct.unpack('>ddH', v, 13)
    local tags = ''
    if ntags > 0 then tags = redis.call('GETRANGE', KEYS[i], 35, 34 + ntags) end
    if #tags == ntags and not spared(meta, h, KEYS[i], w, tags) then
      freed = freed + redis.call('UNLINK', KEYS[i])
    end
  end
end
return freed
"""


class CacheScripts(NamedTuple):
    """The scripts of a cache whose keys begin with so many bytes."""

    get: Script
    get_many: Script
    set: Script
    set_many: Script
    invalidate: Script
    lease: Script
    holds: Script
    fill: Script
    release: Script
    greet: Script
    repair: Script
    sweep: Script


@lru_cache
def cache_scripts(base: int) -> CacheScripts:
    """The scripts for data keys that begin with `base` bytes before the user's key."""
    spared = _SPARED % {"base": base, "tags": MOST_TAGS}
    invalidate = _INVALIDATE % {"prefixes": MOST_PREFIXES, "lengths": MOST_LENGTHS}
    read = _NOW + spared + _LIVING
    write = _NOW + _CURRENT + _WRITE
    texts = (
        read + _GET,
        read + _GET_MANY,
        write + _SET,
        write + _SET_MANY,
        _NUMBER + _CURRENT + invalidate,
        _NUMBER + _CURRENT + read + _LEASE,
        spared + _HELD + _HOLDS,
        write + spared + _HELD + _FILL,
        _RELEASE,
        _NUMBER + _CURRENT + _GREET,
        _REPAIR,
        spared + _SWEEP,
    )
    return CacheScripts(*(Script(text.replace("%%", "%")) for text in texts))
