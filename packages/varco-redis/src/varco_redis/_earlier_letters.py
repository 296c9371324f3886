"""Dead letters in the layout before this one, which had no kinds: they are taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from varco_redis._dead_letter_scripts import COMMON
from varco_redis._errors import refusals_as_data_errors
from varco_redis._letters import Kind, decoded, microseconds, tell_damaged, written_key
from varco_redis._link import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varco_redis._link import Link

_AT_ONCE = 500

# KEYS: `all`, `ready`, `leased` and `data` of it. ARGV: how many. Answers id and bytes of those
# that nobody has, in order.
_EARLIER = Script("""
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found, at, most = {}, 0, 2 * ARGV[1]
while #found < most do
  local ids = redis.call('ZRANGE', KEYS[1], at, at + ARGV[1] - 1)
  if #ids == 0 then break end
  at = at + #ids
  for _, id in ipairs(ids) do
    local lease = redis.call('ZSCORE', KEYS[3], id)
    local data = redis.call('HGET', KEYS[4], id)
    if data and not (lease and tonumber(lease) > now) then
      found[#found + 1] = id
      found[#found + 1] = data
    end
  end
end
return found
""")

# KEYS: those that scripts share, those of _EARLIER, the number of the last that was taken over,
# and `damaged`. ARGV: id, kind, what it is of, "k" and the key or nothing, and when it failed, of
# each, in order; no kind for what cannot be read. They get numbers of that time, and go before
# what came since.
_TAKE_OVER = Script(
    COMMON
    + """
local latest = clock[1] * 1000000 + clock[2]
local number = tonumber(redis.call('GET', KEYS[13])) or 0
for i = 1, #ARGV, 5 do
  local id = ARGV[i]
  local lease = redis.call('ZSCORE', KEYS[11], id)
  local data = redis.call('HGET', KEYS[12], id)
  if data and not (lease and tonumber(lease) > now) then
    if ARGV[i + 1] == '' then
      redis.call('HSET', KEYS[14], id, data)
    elseif redis.call('HEXISTS', letters, id) == 0 then
      number = math.max(number + 1, math.min(tonumber(ARGV[i + 4]), latest))
      while redis.call('ZCOUNT', order, whole(number), whole(number)) > 0 do number = number + 1 end
      keep(id, data, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], number)
    end
    for k = 9, 11 do redis.call('ZREM', KEYS[k], id) end
    redis.call('HDEL', KEYS[12], id)
  end
end
redis.call('SET', KEYS[13], whole(number))
if number > (tonumber(redis.call('GET', last)) or 0) then redis.call('SET', last, whole(number)) end
"""
)


class EarlierLetters:
    """What processes of the version before this one have put aside, or do still."""

    def __init__(self, link: Link, base: str, keys: Sequence[str]) -> None:
        self._link = link
        self._keys = [base + name for name in ("all", "ready", "leased", "data")]
        self.data = self._keys[-1]
        self._damaged = base + "damaged"
        self._all_keys = [*keys, *self._keys, base + "taken-over", self._damaged]

    async def take_over(self) -> None:
        """Take over what nobody has leased."""
        with refusals_as_data_errors(self.data):
            if not await self._link.call("EXISTS", self.data):
                return
            while found := await self._link.run(_EARLIER, self._keys, _AT_ONCE):
                words: list[Any] = []
                for name, data in zip(found[::2], found[1::2], strict=True):
                    words += self._read(name, data)
                await self._link.run(_TAKE_OVER, self._all_keys, *words)

    def _read(self, name: bytes, data: bytes) -> tuple[Any, ...]:
        try:
            entry = decoded(name, data)
        except Exception as error:  # noqa: BLE001 # whatever bytes of others lead to
            tell_damaged(name, self._damaged, error)
            return name, "", "", "", 0
        failed_at = microseconds(entry.last_failed_at)
        return name, *Kind.of(entry).written(), written_key(entry.envelope.key), failed_at
