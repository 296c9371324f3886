"""Times contenders at the same work, in turn, and prints a table of ratios.

A benchmark file lists `Case`s (something to call), `Published`s (the same call on varco-core 1.0.6,
in an environment of its own, since its `varco_core` would clash with ours) and `Figure`s (a number
that is not a time), and ends with `main(CASES)`. Every contender is a process of its own, and those
of one group are measured in turn, round after round, so that a slow moment of the machine falls on
all of them; the median of the rounds is shown. The last column is ours divided by theirs, for a
time the median of what each round gives by itself: below 1 means we are faster.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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
type Step = Callable[[], Awaitable[object]]


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

    def __init__(self, call: Call, runner: asyncio.Runner, clock: Callable[[], float]) -> None:
        self._call = call
        self._runner = runner
        self._clock = clock
        first = call()
        self._async = inspect.isawaitable(first)
        if self._async:
            runner.run(_wait(cast("Awaitable[object]", first)))
        self._number = 1
        while (spent := self._spend(self._number)) < ROUND_SECONDS / 5 and self._number < 10**7:
            self._number *= 2 if spent else 10
        self._number = max(1, round(self._number * ROUND_SECONDS / max(spent, 1e-9)))

    def _spend(self, number: int) -> float:
        if self._async:
            return self._runner.run(_spend_async(self._call, number, self._clock))
        call = self._call
        start = self._clock()
        for _ in range(number):
            call()
        return self._clock() - start

    def round(self) -> float:
        gc.collect()
        return self._spend(self._number) / self._number


async def _wait(awaitable: Awaitable[object]) -> object:
    return await awaitable


async def _spend_async(call: Call, number: int, clock: Callable[[], float]) -> float:
    awaiting = cast("Callable[[], Awaitable[object]]", call)
    start = clock()
    for _ in range(number):
        await awaiting()
    return clock() - start


def lazily(prepare: Callable[[], Awaitable[Step]]) -> Callable[[], Awaitable[object]]:
    """A call that prepares itself the first time, in the loop that it is measured in."""
    held: list[Step] = []

    async def first() -> object:
        held.append(await prepare())
        return await held[0]()

    def call() -> Awaitable[object]:
        return held[0]() if held else first()

    return call


def serve(make: Callable[[], Call], clock: Callable[[], float] = time.perf_counter) -> None:
    """Be a contender: one round for each line of standard input."""
    # What the contender itself prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with asyncio.Runner() as runner:
        try:
            timed = _Timed(make(), runner, clock)
        except ImportError as error:
            print(f"not installed: {error}", file=answers, flush=True)
            return
        print(_READY, file=answers, flush=True)
        for _ in sys.stdin:
            print(timed.round(), file=answers, flush=True)


_READY = "ready"

_PUBLISHED_TAIL = """

if __name__ == "__main__":
    import sys
    sys.path.insert(0, {harness!r})
    import _harness
    _harness.serve(make)
"""


class _Contender:
    """A process that does a round when it is told to; `absent` says why it cannot."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self.rounds: list[float] = []
        answer = self._answers.readline().strip()
        self.absent = "" if answer == _READY else answer or "it could not be run"

    def round(self) -> None:
        self._orders.write("round\n")
        self._orders.flush()
        self.rounds.append(float(self._answers.readline()))

    def close(self) -> None:
        self._orders.close()
        self._process.wait()
        self._answers.close()


def _published(case: Published, folder: str) -> _Contender:
    script = Path(folder) / "contender.py"
    tail = _PUBLISHED_TAIL.format(harness=str(Path(__file__).parent))
    script.write_text(case.source + tail, encoding="utf-8")
    uv = shutil.which("uv") or str(Path(__file__).parents[1] / "uv")
    command = [uv, "run", "--isolated", "--no-project", "--quiet", "--with", case.requirement]
    return _Contender([*command, "--python", sys.executable, "python", str(script)])


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


def measure(cases: Sequence[Case | Published | Figure], only: str = "") -> list[Row]:
    """Measure the groups whose name has `only` in it, and return the rows in the order given."""
    rows: list[Row] = []
    for group in dict.fromkeys(case.group for case in cases):
        if only.lower() in group.lower():
            rows += _measure_group(
                [(number, case) for number, case in enumerate(cases) if case.group == group]
            )
    return rows


def _measure_group(cases: Sequence[tuple[int, Case | Published | Figure]]) -> list[Row]:
    contenders: dict[int, _Contender] = {}
    with contextlib.ExitStack() as stack:
        for number, case in cases:
            if isinstance(case, Figure):
                continue
            if isinstance(case, Published):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="varco-bench-"))
                contender = _published(case, folder)
            else:
                contender = _Contender([sys.executable, sys.argv[0], "--contender", str(number)])
            contenders[number] = stack.enter_context(contextlib.closing(contender))
        present = [contender for contender in contenders.values() if not contender.absent]
        for _ in range(ROUNDS):
            for contender in present:
                contender.round()
        return [_row(case, contenders.get(number)) for number, case in cases]


def _row(case: Case | Published | Figure, contender: _Contender | None) -> Row:
    if isinstance(case, Figure):
        try:
            return Row(case.group, case.name, case.unit, case.measure(), case.ours)
        except ImportError as error:
            if case.ours:
                raise
            return Row(case.group, case.name, case.unit, None, case.ours, f"not installed: {error}")
    assert contender is not None
    if contender.absent:
        if case.ours:
            raise RuntimeError(f"{case.group}: {contender.absent}")
        return Row(case.group, case.name, "s", None, case.ours, contender.absent)
    middle = statistics.median(contender.rounds)
    return Row(case.group, case.name, "s", middle, case.ours, rounds=contender.rounds)


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
    above = [] if bare is None or bare is row else _quotients(ours, row, bare)
    return whole, f"{statistics.median(above):.3f}x" if above else ""


def _quotients(ours: Row, theirs: Row, floor: Row | None = None) -> list[float]:
    """Round by round, less the floor's share; of figures, which have no rounds, of their values."""
    every = [row.rounds or [row.value or 0.0] for row in (ours, theirs)]
    every.append(floor.rounds if floor else [0.0] * len(every[0]))
    return [
        (mine - bare) / (other - bare)
        for mine, other, bare in zip(*every, strict=True)
        if other > bare
    ]


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
    one_core: bool = True,
) -> None:
    """Run from the command line; `--filter TEXT` keeps the groups whose name contains TEXT.

    `floor` names the contender of each group whose time everyone has to pay, if there is one. All
    contenders run on one core, for two may be of different speed, unless `one_core` is false:
    where a server works as well. Give `time.process_time` as the clock to measure our share alone.
    """
    parser = argparse.ArgumentParser(description="Benchmark against peers.")
    parser.add_argument("--filter", default="", help="only groups whose name contains this text")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--contender", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender is not None:
        case = cases[options.contender]
        assert isinstance(case, Case)
        serve(case.make, clock)
        return
    if one_core and sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = measure(cases, options.filter)
    if options.json:
        fields: list[dict[str, Any]] = [
            {name: getattr(row, name) for name in Row.__slots__} for row in rows
        ]
        print(json.dumps({"floor": floor, "rows": fields}, indent=1))
    else:
        print(render(rows, floor))
