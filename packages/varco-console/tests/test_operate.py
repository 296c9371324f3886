"""Flow, parts, and starting a console by itself."""

import subprocess
import sys
from dataclasses import dataclass

import anyio
import pytest
from starlette.responses import JSONResponse

from varco_console import Console, ConsoleConfigError
from varco_console.__main__ import load
from varco_events import BusUnavailableError, ConsumerState, OutboxEntry, OutboxRelay
from varco_resilience import RetryPolicy

pytestmark = pytest.mark.anyio


async def held_back(shop):
    """Three entries of a key in the outbox, the first of which failed and waits for an hour."""
    mail = sys.modules[type(shop).__module__].MailWanted
    seen = []

    async def fail(event):
        seen.append(event)
        raise ConnectionError("the broker is away")

    shop.bus.subscribe(mail, fail, channel="out")
    for number in range(3):
        event = mail(to=f"{number}@x.org", order="<order 7>")
        await shop.outbox.save(OutboxEntry.from_event(event, channel="out"))
    policy = RetryPolicy(max_attempts=5, base_delay=3600, max_delay=7200)
    relay = OutboxRelay(outbox=shop.outbox, bus=shop.bus, retry_policy=policy)
    await relay.run_once()
    return relay, seen


async def test_a_held_back_key_is_shown_and_released(shop):
    relay, seen = await held_back(shop)
    assert len(seen) == 1
    ann, bob = shop.browser(), shop.browser("bob")
    await ann.get("flow")
    assert "<order 7>" in ann.text
    assert "the broker is away" in ann.text
    assert "On their way 3" in ann.text
    await relay.run_once()
    assert len(seen) == 1
    await bob.get("flow")
    assert "Try selected now" not in bob.text
    await bob.post("flow/outbox/release", keys="<order 7>")
    assert bob.page.status_code == 403
    await ann.post("flow/outbox/release", keys="<order 7>")
    assert ann.page.url.path == "/flow"
    await relay.run_once()
    assert len(seen) == 2
    await ann.get("audit")
    assert "Release Outbox ann" in ann.text
    await ann.post("flow/dead-letters/release", keys="<order 7>")
    assert ann.page.status_code == 400


async def test_flow_tells_how_depths_change(shop, monkeypatch):
    monkeypatch.setattr("varco_console._flow._APART", 0.0)
    ann = shop.browser()
    await ann.get("flow")
    assert "It is empty." in ann.text
    await held_back(shop)
    await ann.get("flow")
    assert "+3 in" in ann.text


@dataclass
class State:
    value: str


class Breaker:
    def __init__(self, name):
        self.name, self.state, self.isolated, self.failure_count = name, State("closed"), False, 3

    def open(self):
        self.state, self.isolated = State("open"), False

    def close(self):
        self.state, self.isolated = State("closed"), False

    def isolate(self):
        self.state, self.isolated = State("open"), True


class Stats:
    hits, misses, loads, entries, size_bytes, errors, hit_ratio = 8, 2, 2, 1_234, 56_789, 0, 0.8


class Cache:
    def __init__(self):
        self.dropped = []

    def stats(self):
        return Stats

    async def invalidate_tags(self, *tags):
        self.dropped.append(("tag", *tags))

    async def delete_prefix(self, prefix):
        self.dropped.append(("prefix", prefix))


class Authority:
    issuer, active_kid, kids = "https://shop.example", "may", frozenset({"may", "april"})


class Health:
    async def ready(self):
        return JSONResponse({"parts": {"database": "ready", "mail": "failed"}}, 503)


async def test_parts(shop):
    breaker, cache = Breaker("the bank"), Cache()
    shop = type(shop)(
        breakers=[breaker], caches={"Pages": cache}, keys={"Tokens": Authority}, health=Health()
    )
    ann, bob = shop.browser(), shop.browser("bob")
    await ann.get("parts")
    for text in (
        "the bank Closed",
        "80.0 %",
        "1,234",
        "may",
        "april",
        "database ready",
        "mail fai",
    ):
        assert text in ann.text
    for action, state in (("isolate", "Isolated"), ("open", "Open"), ("close", "Closed")):
        await ann.post("parts/breakers", name="the bank", do=action)
        assert f"the bank {state}" in ann.text
    await ann.post("parts/caches", name="Pages", by="tag", text="orders")
    await ann.post("parts/caches", name="Pages", by="prefix", text="order:")
    assert cache.dropped == [("tag", "orders"), ("prefix", "order:")]
    await ann.post("parts/breakers", name="the bank", do="isolate")
    await ann.get()
    assert "1 circuit breaker lets nothing through: the bank." in ann.text

    await bob.get("parts")
    assert "Isolate" not in bob.text.replace("Isolated", "")
    for path, fields in (
        ("parts/breakers", {"name": "the bank", "do": "close"}),
        ("parts/caches", {"name": "Pages", "by": "tag", "text": "orders"}),
    ):
        await bob.post(path, **fields)
        assert bob.page.status_code == 403
    assert breaker.isolated
    for path, fields in (
        ("parts/breakers", {"name": "none", "do": "close"}),
        ("parts/breakers", {"name": "the bank", "do": "__class__"}),
        ("parts/caches", {"name": "none", "by": "tag", "text": "x"}),
        ("parts/caches", {"name": "Pages", "by": "tag", "text": " "}),
        ("parts/caches", {"name": "Pages", "by": "all", "text": "x"}),
    ):
        await ann.post(path, **fields)
        assert ann.page.status_code == 400
    await ann.get("audit")
    for text in ("Isolate the bank", "Drop tag Pages", "tag orders"):
        assert text in ann.text


async def test_what_is_begun_and_fails_is_in_the_audit(shop):
    breaker = Breaker("the bank")
    breaker.open = lambda: 1 / 0
    shop = type(shop)(breakers=[breaker])
    ann = shop.browser()
    await ann.get("parts")
    await ann.post("parts/breakers", name="the bank", do="open")
    assert ann.page.status_code == 500
    await ann.get("audit")
    assert "Open the bank ann" in ann.text
    assert "failed" in ann.text


CONSOLE = Console({})


def make():
    return Console({})


async def test_the_command_finds_a_console(monkeypatch):
    module = make.__module__
    monkeypatch.setitem(sys.modules, module, sys.modules.get(module) or sys)
    monkeypatch.setattr(sys.modules[module], "CONSOLE", CONSOLE, raising=False)
    monkeypatch.setattr(sys.modules[module], "make", make, raising=False)
    assert load(f"{module}:CONSOLE") is CONSOLE
    assert isinstance(load(f"{module}:make"), Console)
    for place in ("nothing", "json:", ":x", "json:nothing"):
        with pytest.raises(ConsoleConfigError):
            load(place)


def test_the_command_says_what_it_needs():
    command = [sys.executable, "-m", "varco_console", "--app", "json:__doc__"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "json:__doc__ is no Console" in done.stderr


class Manager:
    def __init__(self, *rows, error=None):
        self.rows, self.error = rows, error

    async def consumers(self, *, limit=1000):
        if self.error:
            raise self.error
        return list(self.rows)[:limit]


def part(number, consumer, lag, **more):
    names = {"group": "<mailers>", "channel": "mail & more"}
    return ConsumerState(**names, partition=number, consumer=consumer, lag=lag, **more)


async def test_relays_and_consumers_are_shown(shop):
    relay, _ = await held_back(shop)
    rows = part(0, "host-1", 7, in_hand=2, oldest_in_hand=75.0), part(1, None, 5, in_hand=0)
    buses = {
        "Redis": Manager(*rows),
        "Kafka": Manager(error=BusUnavailableError("no <broker> answers")),
        "Here": shop.bus,
        "Idle": Manager(),
    }
    console = type(shop)(buses=buses, relays={"Mail relay": relay}).console
    ann = type(shop.browser())(console)
    await ann.get("flow")
    for text in (
        "Mail relay ConnectionError: the broker is away, just now Does not run",
        "3 entries, 1 not taken",
        "mail & more group <mailers>",
        "Nobody takes from 1",
        "12 to do",
        "2 in hand, the oldest for 1 min",
        "2 partitions, 1 consumer",
        "0 host-1 7 2 1 min",
        "1 nobody 5 0 –",
        "no <broker> answers",
        "All channels handlers of this process",
        "Nobody listens, and nothing waits.",
    ):
        assert text in ann.text, text
    assert "<mailers>" not in ann.page.text
    async with relay:
        await ann.get("flow")
        assert "Does not run" not in ann.text


async def test_who_handles_what_is_waited_for_no_longer_than_was_said(shop):
    class Hanging(Manager):
        async def consumers(self, *, limit=1000):
            await anyio.sleep_forever()

    ann = type(shop.browser())(type(shop)(buses={"Redis": Hanging()}, timeout=0.05).console)
    await ann.get("flow")
    assert ann.page.status_code == 200
    assert "No answer within 0.05 seconds" in ann.text
