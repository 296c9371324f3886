"""Times contenders at the same work, in turn, and prints a table of ratios.

A benchmark file lists `Case`s (something to call), `Published`s (the same call on varco-core 1.0.6,
in an environment of its own, since its `varco_core` would clash with ours) and `Figure`s (a number
that is not a time), and ends with `main(CASES)`. Contenders of one group are measured in turn,
round after round, so that a slow moment of the machine falls on all of them; the median of the
rounds is shown. The last column is ours divided by theirs, for a time the median of what each round
gives by itself, so that a machine that is slow for several rounds does not decide: below 1 means we
are faster.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

PUBLISHED = "varco-core==1.0.6"
ROUNDS = 21
ROUND_SECONDS = 0.03

type Call = Callable[[], object]

# What the rounds are measured with; `main` sets it before it measures.
_clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, slots=True)
class Case:
    """One contender: `make` prepares it and returns the call to time, sync or async."""

    group: str
    name: str
    make: Callable[[], Call]
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """The published varco-core at the same work; `source` is Python text that defines `make()`."""

    group: str
    source: str
    requirement: str = PUBLISHED
    name: str = "varco-core 1.0.6"
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure that is not a time per call, such as memory or a hit ratio."""

    group: str
    name: str
    unit: str
    measure: Callable[[], float]
    ours: bool = False


class _Timed:
    """A contender that is ready; it knows how many calls fill one round."""

    def __init__(self, call: Call, runner: asyncio.Runner) -> None:
        self._call = call
        self._runner = runner
        first = call()
        self._async = inspect.isawaitable(first)
        if self._async:
            runner.run(_wait(cast("Awaitable[object]", first)))
        self._number = 1
        while (spent := self._spend(self._number)) < ROUND_SECONDS / 5 and self._number < 10**7:
            self._number *= 2 if spent else 10
        self._number = max(1, round(self._number * ROUND_SECONDS / max(spent, 1e-9)))
        self.rounds: list[float] = []

    def _spend(self, number: int) -> float:
        if self._async:
            return self._runner.run(_spend_async(self._call, number))
        call = self._call
        start = _clock()
        for _ in range(number):
            call()
        return _clock() - start

    def round(self) -> None:
        gc.collect()
        self.rounds.append(self._spend(self._number) / self._number)

    def close(self) -> None:
        """Nothing to end; a remote contender has a process."""


async def _wait(awaitable: Awaitable[object]) -> object:
    return await awaitable


async def _spend_async(call: Call, number: int) -> float:
    awaiting = cast("Callable[[], Awaitable[object]]", call)
    start = _clock()
    for _ in range(number):
        await awaiting()
    return _clock() - start


_REMOTE_TAIL = """

if __name__ == "__main__":
    import sys
    sys.path.insert(0, {harness!r})
    import asyncio, _harness
    with asyncio.Runner() as runner:
        timed = _harness._Timed(make(), runner)
        print("ready", flush=True)
        for line in sys.stdin:
            timed.round()
            print(timed.rounds[-1], flush=True)
"""


class _Remote:
    """The same as `_Timed` in another process, which does a round when it is told to."""

    def __init__(self, case: Published) -> None:
        folder = Path(tempfile.mkdtemp(prefix="varco-bench-"))
        script = folder / "contender.py"
        tail = _REMOTE_TAIL.format(harness=str(Path(__file__).parent))
        script.write_text(case.source + tail, encoding="utf-8")
        uv = shutil.which("uv") or str(Path(__file__).parents[1] / "uv")
        command = [uv, "run", "--isolated", "--no-project", "--quiet", "--with", case.requirement]
        self._folder = folder
        self._process = subprocess.Popen(
            [*command, "--python", sys.executable, "python", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.rounds: list[float] = []
        if self._answer() != "ready":
            self.close()
            raise ImportError(f"{case.requirement} could not be run")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def round(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        self.rounds.append(float(self._answer()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `value` is None when the contender could not be run."""

    group: str
    name: str
    unit: str
    value: float | None
    ours: bool
    note: str = ""
    rounds: Sequence[float] = ()


def measure(cases: Sequence[Case | Published | Figure]) -> list[Row]:
    """Measure every group, contenders in turn, and return the rows in the order given."""
    rows: list[Row] = []
    for group in dict.fromkeys(case.group for case in cases):
        rows += _measure_group([case for case in cases if case.group == group])
    return rows


def _measure_group(cases: Sequence[Case | Published | Figure]) -> list[Row]:
    with asyncio.Runner() as runner:
        ready = [_prepare(case, runner) for case in cases]
        contenders = [one for one in ready if isinstance(one, _Timed | _Remote)]
        for _ in range(ROUNDS):
            for contender in contenders:
                contender.round()
        for contender in contenders:
            contender.close()
    return [_row(case, result) for case, result in zip(cases, ready, strict=True)]


def _prepare(
    case: Case | Published | Figure, runner: asyncio.Runner
) -> _Timed | _Remote | float | str:
    """A contender, a figure's value, or why there is none."""
    try:
        if isinstance(case, Figure):
            return case.measure()
        return _Remote(case) if isinstance(case, Published) else _Timed(case.make(), runner)
    except ImportError as error:
        if case.ours:
            raise
        return f"not installed: {error}"


def _row(case: Case | Published | Figure, result: _Timed | _Remote | float | str) -> Row:
    unit = case.unit if isinstance(case, Figure) else "s"
    if isinstance(result, str):
        return Row(case.group, case.name, unit, None, case.ours, result)
    if isinstance(result, float | int):
        return Row(case.group, case.name, unit, result, case.ours)
    middle = statistics.median(result.rounds)
    return Row(case.group, case.name, unit, middle, case.ours, rounds=result.rounds)


def shown(value: float, unit: str) -> str:
    """A figure with three digits and its unit."""
    if unit != "s":
        return f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
    for factor, name in ((1e9, "ns"), (1e6, "us"), (1e3, "ms")):
        if value * factor < 1000:
            return f"{value * factor:.3g} {name}"
    return f"{value:.3g} s"


def ratios(row: Row, group: Sequence[Row], floor: str = "") -> tuple[str, str]:
    """Our figure divided by that of the row, as text; then the same of what is above the floor."""
    ours = next((other for other in group if other.ours), None)
    if row.ours or ours is None or not row.value:
        return "", ""
    whole = f"{statistics.median(_quotients(ours, row)):.2f}x"
    bare = next((other for other in group if other.name == floor), None)
    if bare is None or bare.value is None or ours.value is None or row.value <= bare.value:
        return whole, ""
    return whole, f"{(ours.value - bare.value) / (row.value - bare.value):.3f}x"


def _quotients(ours: Row, theirs: Row) -> list[float]:
    """Round by round; of a figure, which has no rounds, its value."""
    pairs = zip(
        ours.rounds or [ours.value or 0.0], theirs.rounds or [theirs.value or 0.0], strict=True
    )
    return [mine / other for mine, other in pairs]


def render(rows: Sequence[Row], floor: str = "") -> str:
    """The table as text, one group after the other."""
    lines: list[str] = []
    width = max((len(row.name) for row in rows), default=0)
    for group in dict.fromkeys(row.group for row in rows):
        inside = [row for row in rows if row.group == group]
        lines += ["", group]
        for row in inside:
            if row.value is None:
                lines.append(f"  {row.name:<{width}}  {row.note}")
                continue
            whole, above = ratios(row, inside, floor)
            figure = shown(row.value, row.unit)
            lines.append(f"  {row.name:<{width}}  {figure:>14}  {whole:>9}{above:>10}".rstrip())
    lines += [
        "",
        "The ratio: varco divided by the contender of that line, median of the rounds.",
    ]
    if floor:
        lines += [f"After it: the same of what each costs above the {floor}."]
    return "\n".join(lines)


def main(
    cases: Sequence[Case | Published | Figure],
    *,
    floor: str = "",
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Run from the command line; `--filter TEXT` keeps the groups whose name contains TEXT.

    `floor` names the contender of each group whose time everyone has to pay, if there is one. Give
    `time.process_time` as the clock where a server works as well: it measures our share alone.
    """
    global _clock  # noqa: PLW0603  # a benchmark is one process with one clock
    _clock = clock
    parser = argparse.ArgumentParser(description="Benchmark against peers.")
    parser.add_argument("--filter", default="", help="only groups whose name contains this text")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    if sys.platform == "linux":
        # One core for all contenders, the processes of the remote ones included: two cores may be
        # of different speed, and a task that moves between them finds its caches cold.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = measure([case for case in cases if options.filter.lower() in case.group.lower()])
    if options.json:
        fields: list[dict[str, Any]] = [
            {name: getattr(row, name) for name in Row.__slots__} for row in rows
        ]
        print(json.dumps({"floor": floor, "rows": fields}, indent=1))
    else:
        print(render(rows, floor))
