"""Who handles the events of a bus on Streams, and how far each group is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from varco_events import ConsumerState
from varco_redis._errors import RedisDataError
from varco_redis._link import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from varco_redis._bus_settings import Names
    from varco_redis._link import Link

_AT_ONCE = 100

# KEYS: config. ARGV: base, most. Answers for each partition and group their names, how many events
# are pending and how many were never taken, and of the oldest pending one who has it, and since how
# many milliseconds; -1 for what there is not.
_STATES = Script("""
local n = tonumber(redis.call('HGET', KEYS[1], 'partitions') or 0)
local answer = {}
for p = 0, n - 1 do
  local stream = ARGV[1] .. string.format('%d', p)
  if redis.call('EXISTS', stream) == 1 then
    for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
      if #answer >= tonumber(ARGV[2]) then return answer end
      local g = {}
      for i = 1, #flat, 2 do g[flat[i]] = flat[i + 1] end
      local first = g['pending'] > 0 and redis.call('XPENDING', stream, g['name'], '-', '+', 1)[1]
      answer[#answer + 1] = {p, g['name'], g['pending'], g['lag'] or -1,
        first and first[2] or '', first and first[3] or -1}
    end
  end
end
return answer
""")

# KEYS: owners. Answers the time in milliseconds, and who has which partition.
_OWNERS = Script("""
local t = redis.call('TIME')
return {t[1] * 1000 + math.floor(t[2] / 1000), redis.call('HGETALL', KEYS[1])}
""")


class _Row(NamedTuple):
    channel: str
    group: str
    partition: int
    pending: int
    untaken: int
    holder: str
    idle: int


async def consumer_states(
    link: Link, names: Names, channels: Sequence[str], limit: int
) -> list[ConsumerState]:
    """What each group has to do in each partition of the channels.

    Raises:
        RedisUnavailableError: Redis does not answer in time.
        RedisDataError: There is something else where a channel should be.
    """
    rows: list[_Row] = []
    for at in range(0, len(channels), _AT_ONCE):
        some = channels[at : at + _AT_ONCE]
        left = limit - len(rows)
        if left <= 0:
            break
        calls = [(_STATES, (names.config(one),), (names.base(one), left)) for one in some]
        for channel, answer in zip(some, await link.run_each(calls), strict=True):
            if isinstance(answer, Exception):
                raise RedisDataError(names.base(channel), str(answer)) from answer
            rows += sorted(_rows(channel, answer))
    rows = rows[:limit]
    groups = sorted({(row.channel, row.group) for row in rows})
    owners = await _owners(link, names, groups)
    return [
        ConsumerState(
            group=row.group,
            channel=row.channel,
            partition=row.partition,
            consumer=owners.get((row.channel, row.group, row.partition)) or row.holder or None,
            lag=row.pending + row.untaken,
            in_hand=row.pending,
            oldest_in_hand=row.idle / 1000 if row.pending else None,
        )
        for row in rows
    ]


def _rows(channel: str, answer: Iterable[Any]) -> Iterable[_Row]:
    for partition, group, pending, untaken, holder, idle in answer:
        yield _Row(
            channel,
            group.decode(errors="replace"),
            int(partition),
            int(pending),
            max(int(untaken), 0),  # Redis does not tell after some deletions
            holder.decode(errors="replace"),
            max(int(idle), 0),
        )


async def _owners(
    link: Link, names: Names, groups: Sequence[tuple[str, str]]
) -> dict[tuple[str, str, int], str]:
    """Which process has which partition of which channel and group, by the names they took."""
    calls = [(_OWNERS, (names.of_group(channel, group)[1],), ()) for channel, group in groups]
    answers: list[Any] = await link.run_each(calls) if calls else []
    called = await _called(link, names, {group for _, group in groups})
    found: dict[tuple[str, str, int], str] = {}
    for (channel, group), answer in zip(groups, answers, strict=True):
        if isinstance(answer, Exception):
            raise RedisDataError(names.of_group(channel, group)[1], str(answer)) from answer
        now, flat = answer
        for name, value in zip(flat[::2], flat[1::2], strict=True):
            if name.isdigit():
                process, _, expires = value.decode().split(" ")
                if int(expires) > int(now):
                    found[channel, group, int(name)] = called.get((group, process)) or process
    return found


async def _called(link: Link, names: Names, groups: set[str]) -> dict[tuple[str, str], str]:
    """What `XINFO CONSUMERS` calls each process of each group that took a name by itself."""
    asked = sorted(groups)
    answers = await link.pipeline([("HGETALL", names.consumers_of(one)) for one in asked])
    found: dict[tuple[str, str], str] = {}
    for group, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Exception):
            raise RedisDataError(names.consumers_of(group), str(answer)) from answer
        for name, value in as_map(answer).items():
            found[group, value.decode().partition(" ")[0]] = name.decode(errors="replace")
    return found


def as_map(answer: Any) -> dict[bytes, Any]:
    """A map, however the protocol wrote it."""
    if isinstance(answer, dict):
        return answer  # pyright: ignore[reportUnknownVariableType] # narrowed from Any
    return dict(zip(answer[::2], answer[1::2], strict=True))
