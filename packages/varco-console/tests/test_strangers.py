"""Attacks: what each permission opens, values that are hostile or broken, and parts that fail."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

import anyio
import pytest
from starlette.responses import JSONResponse

from varco_console import Console, MemoryAudit, Permission
from varco_events import ConsumerState, DeadLetterEntry, RelayStatus

pytestmark = pytest.mark.anyio
SOME_ID = "11111111-2222-3333-4444-555555555555"
ATTACK = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"
LOOKING = (
    "",
    "failures/dead-letters",
    "failures/dead-letters/entries",
    f"failures/dead-letters/entries/{SOME_ID}",
    f"actions/{SOME_ID}",
    "flow",
    "parts",
    "audit",
)
P = Permission
#: Each action with what it needs, and what it is asked with.
ACTIONS = (
    ({P.RETRY}, "failures/dead-letters/act", {"do": "retry-chosen", "ids": SOME_ID}),
    ({P.RETRY}, "failures/dead-letters/act", {"do": "retry-matching", "confirmed": "yes"}),
    ({P.RETRY}, "failures/dead-letters/act", {"do": "retry-matching"}),
    ({P.DISCARD}, "failures/dead-letters/act", {"do": "discard-chosen", "ids": SOME_ID}),
    ({P.DISCARD}, "failures/dead-letters/act", {"do": "discard-matching", "confirmed": "yes"}),
    ({P.EDIT, P.PAYLOAD}, f"failures/dead-letters/entries/{SOME_ID}/edit", {"payload": "{}"}),
    ({P.RELEASE}, "flow/outbox/release", {"keys": "none"}),
    ({P.BREAKER}, "parts/breakers", {"name": "bank", "do": "open"}),
    ({P.CACHE}, "parts/caches", {"name": "Pages", "by": "tag", "text": "x"}),
)


class Breaker:
    def __init__(self, name):
        self.name, self.isolated, self.failure_count = name, False, 0
        self.state = SimpleNamespace(value="closed")
        self.turned = 0

    def turn(self):
        self.turned += 1

    open = close = isolate = turn


class Cache:
    dropped = 0
    figures = SimpleNamespace(
        hits=0, misses=0, loads=0, entries=0, size_bytes=0, errors=0, hit_ratio=0.0
    )

    def stats(self):
        return self.figures

    async def invalidate_tags(self, *tags):
        self.dropped += 1

    delete_prefix = invalidate_tags


class States:
    def __init__(self, *rows):
        self.rows = rows

    async def consumers(self, *, limit):
        return self.rows[:limit]


def of(shop, **options):
    """Another shop, whose console has more parts, and a way to look at it as somebody."""
    other = type(shop)(**options)

    def as_somebody(*permissions):
        name = "-".join(permissions) or "nobody"
        browser = type(other.browser())(other.console, name)
        other.console._setup = type(other.console._setup)(
            **{
                one: getattr(other.console._setup, one)
                for one in other.console._setup.__slots__
                if one != "access"
            },
            access=lambda user: permissions if user.user_id == name else frozenset(),
        )
        return browser

    return other, as_somebody


@pytest.mark.parametrize("permission", [None, *Permission])
async def test_each_route_opens_for_its_permission_and_no_other(shop, permission):
    breaker, cache = Breaker("bank"), Cache()
    other, as_somebody = of(shop, breakers=[breaker], caches={"Pages": cache})
    await other.mail("a@x.org")
    some = as_somebody(*([] if permission is None else [permission]))
    for path in LOOKING:
        await some.get(path)
        assert (some.page.status_code == 403) is (permission is not P.LOOK), path
        assert ("Dead letters" in some.page.text) is (permission is P.LOOK), path
    for _, path, fields in ACTIONS:  # with what they need, but without looking
        await some.post(path, **fields)
        assert some.page.status_code == 403, path
    assert await other.dead_letters.count() == 1
    both = as_somebody(P.LOOK, *([] if permission is None else [permission]))
    await both.get("")
    for needed, path, fields in ACTIONS:
        await both.post(path, **fields)
        allowed = needed <= {P.LOOK, permission}
        assert (both.page.status_code == 403) is not allowed, (path, fields, both.text)
    assert breaker.turned == (permission is P.BREAKER)
    assert cache.dropped == (permission is P.CACHE)
    left = await other.dead_letters.count()
    assert left == (0 if permission is P.DISCARD else 1)


async def test_editing_needs_to_see_payloads_too(shop):
    other, as_somebody = of(shop)
    await other.mail("a@x.org")
    (failure,) = await other.store.find()
    where = f"failures/dead-letters/entries/{failure.entry_id}/edit"
    for permissions, status in (
        ((P.LOOK, P.EDIT), 403),
        ((P.LOOK, P.PAYLOAD), 403),
        ((P.LOOK, P.EDIT, P.PAYLOAD), 200),
    ):
        some = as_somebody(*permissions)
        assert (await some.get(where)).status_code == status
        await some.post(where, payload='{"to": "b@x.org"}')
        assert (some.page.status_code == 200) is (status == 200)


@dataclass
class Authority:
    issuer: str = ATTACK
    active_kid: str = ATTACK
    kids: frozenset = frozenset({ATTACK, "other " + ATTACK})


class Told:
    issuer = ATTACK

    def state(self):
        key = SimpleNamespace(kid=ATTACK, algorithm=ATTACK, signs=True, age=1.0, ends_in=1.0)
        fetch = SimpleNamespace(ago=1.0, next_in=1.0, error=ATTACK)
        return SimpleNamespace(
            issuer=ATTACK, source=ATTACK, keys=[key], fetch=fetch, rotation_due_in=-1.0
        )


class Health:
    async def ready(self):
        return JSONResponse({"parts": {ATTACK: ATTACK}}, 503)


async def test_no_name_of_a_part_is_markup(shop):
    row = ConsumerState(channel=ATTACK, group=ATTACK, partition=0, consumer=ATTACK, lag=1)
    now = datetime.now(UTC)
    relay = SimpleNamespace(status=RelayStatus(is_running=True, error=ATTACK, error_at=now))
    ann = type(shop.browser())(
        type(shop)(
            title=ATTACK,
            breakers=[Breaker(ATTACK)],
            caches={ATTACK: Cache()},
            keys={ATTACK: Authority(), f"{ATTACK}2": Told()},
            health=Health(),
            buses={ATTACK: States(row)},
            relays={ATTACK: relay},
        ).console
    )
    for path in ("", "parts", "flow"):
        await ann.get(path)
        assert ann.page.status_code == 200
        assert "{{7*7}}" in ann.text
        assert_no_markup(ann.page.text)
    await ann.post("parts/breakers", name=ATTACK, do="isolate")
    assert_no_markup(ann.page.text)
    await ann.post("parts/caches", name=ATTACK, by="tag", text=ATTACK)
    assert_no_markup(ann.page.text)
    await ann.get("audit")
    assert ATTACK in ann.text
    assert_no_markup(ann.page.text)
    (where,) = set(re.findall(r'href="\./(actions/[^"]+)"', ann.page.text)[:1])
    await ann.get(where)
    assert_no_markup(ann.page.text)


def assert_no_markup(text):
    assert "<script>alert" not in text
    assert "<img" not in text
    for tag in re.findall(r"<[^>]+>", text):
        assert not re.search(r"\son\w+\s*=", re.sub(r'"[^"]*"', '""', tag)), tag


@pytest.mark.parametrize(
    "query",
    [
        "key=%00",
        "%00=x",
        "cursor=%00",
        "cursor=x",
        "cursor=%ED%A0%80",
        "cursor=" + "A" * 5_000,
        "since=0001-01-01T00:00:00%2B23:59",
        "since=9999-12-31T23:59:59-23:59",
        "since=2026-01-01",
        "until=tomorrow",
        "period=-1",
        "key=" + "x" * 1_001,
    ],
)
async def test_an_address_that_cannot_be_read_is_refused(shop, query):
    ann = shop.browser()
    for path in ("failures/dead-letters", "failures/dead-letters/entries"):
        if "cursor" in query and not path.endswith("entries"):
            continue
        await ann.get(f"{path}?{query}")
        assert 400 <= ann.page.status_code < 500, path


@pytest.mark.parametrize("page", ["²", "9" * 5_000, "-1", "0", "1e3", "٣", ""])
async def test_a_page_that_is_none_is_the_first(shop, page):
    await shop.mail("a@x.org")
    ann = shop.browser()
    await ann.get("failures/dead-letters", page=page)
    assert ann.page.status_code == 200
    assert "ConnectionError" in ann.text


@pytest.mark.parametrize("before", ["%00", "2026-01-01", "0001-01-01T00:00:00%2B14:00", "x"])
async def test_a_moment_of_the_audit_that_is_none_is_refused(shop, before):
    ann = shop.browser()
    await ann.get("parts")
    await ann.get(f"audit?before={before}")
    assert ann.page.status_code == 400


async def test_a_form_with_a_nul_does_nothing(shop):
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries")
    for path, fields in (
        ("flow/outbox/release", {"keys": "a\0b"}),
        ("parts/caches", {"name": "Pages", "by": "tag", "text": "\0"}),
        ("failures/dead-letters/act", {"do": "retry-matching", "confirmed": "yes", "key": "\0"}),
    ):
        await ann.post(path, **fields)
        assert ann.page.status_code == 400
        assert "There is a NUL in it" in ann.text
    await ann.get("audit")
    assert "Nothing yet" in ann.text


async def test_halves_of_characters_and_controls_break_no_page(shop):
    half = "\ud800\udcff\x1b[31m\x00"
    await shop.mail("a@x.org")
    (entry,) = await shop.dead_letters.peek(limit=1)
    names = {"event_type": half, "key": half, "channel": half, "headers": {half: half}}
    broken = DeadLetterEntry(
        envelope=entry.envelope.replace(**names), handler_name=half, error_type=half, group=half
    )
    broken.__dict__["error_message"] = half  # a store of somebody else's may not clean it
    await shop.dead_letters.push(broken)
    (failure,) = [one for one in await shop.store.find() if one.envelope.key == half]
    ann = shop.browser()
    for path in (
        "",
        "failures/dead-letters",
        "failures/dead-letters/entries",
        f"failures/dead-letters/entries/{failure.entry_id}",
        f"failures/dead-letters/entries/{failure.entry_id}/edit",
    ):
        await ann.get(path)
        assert ann.page.status_code == 200, path
    row = ConsumerState(channel=half, group=half, partition=0, consumer=half, lag=1)
    other = type(shop)(title=half, buses={half: States(row)}, breakers=[Breaker(half)])
    ann = type(ann)(other.console)
    for path in ("", "flow", "parts"):
        await ann.get(path)
        assert ann.page.status_code == 200, path


@pytest.mark.parametrize(
    "payload",
    [b"\xff\xfe", b'{"a":"\\ud800"}', b"[" * 100_000, b'{"a":' * 50_000, b"1" * 300_000, b"null"],
)
async def test_payloads_that_are_no_events_are_said_to_be_none(shop, payload):
    await shop.mail("a@x.org")
    (entry,) = await shop.dead_letters.peek(limit=1)
    envelope = entry.envelope.replace(payload=payload)
    await shop.dead_letters.push(replace(entry, entry_id=UUID(SOME_ID), envelope=envelope))
    ann = shop.browser()
    await ann.get(f"failures/dead-letters/entries/{SOME_ID}")
    assert ann.page.status_code == 200
    await ann.post(f"failures/dead-letters/entries/{SOME_ID}/edit", payload='{"to": "b@x.org"}')
    assert ann.page.status_code in {200, 422}


@pytest.mark.parametrize("host", ["[", "a b", "evil.example\\@x", "x:99999999", "é", ""])
async def test_a_host_that_is_nonsense_leads_nowhere(shop, host):
    ann = shop.browser()
    for path in ("", "nowhere", "failures/dead-letters/", "sign-in"):
        answer = await ann.client.get(path, headers={"host": host.encode()}, follow_redirects=False)
        assert answer.status_code in {200, 307, 404}, path
        assert "content-security-policy" in answer.headers
        assert "evil" not in answer.text
        assert "evil" not in answer.headers.get("location", "")


async def test_what_is_logged_is_one_line(shop, caplog):
    async def broken(_):
        raise RuntimeError("password=hunter2")

    shop.store.count = broken
    shop.store.page = broken
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries?key=%0aFAKE")
    answer = await ann.client.get("http://ops.test/failures/%0aFAKE%20line")
    assert answer.status_code == 404
    assert all("\n" not in record.getMessage() for record in caplog.records)


async def test_a_store_that_fails_hides_no_other_and_tells_nothing(shop, caplog):
    async def broken(*_, **__):
        raise RuntimeError("password=hunter2")

    class Broken(States):
        consumers = broken

    class Ill(Health):
        ready = broken

    other = type(shop)(buses={"Redis": Broken()}, health=Ill(), breakers=[Breaker("bank")])
    other.store.figures = broken
    ann = type(shop.browser())(other.console)
    for path, text in (("", "no failures"), ("flow", "It is empty."), ("parts", "bank")):
        await ann.get(path)
        assert ann.page.status_code == 200
        assert "It could not be asked" in ann.text
        assert text in ann.text
        assert "hunter2" not in ann.page.text
    known_as = re.search(r"under (\w+)\.", ann.text)[1]
    assert known_as in caplog.text


async def test_a_page_has_only_so_many_channels(shop):
    await shop.mail("a@x.org")
    (entry,) = await shop.dead_letters.peek(limit=1)
    for number in range(300):
        name = f"channel-{number:03}"
        await shop.dead_letters.push(replace(entry, entry_id=uuid4(), channel=name))
    ann = shop.browser()
    await ann.get("flow")
    assert ann.page.text.count("channel=channel-") <= 200
    assert "101 channels with less are not shown." in ann.text
    await ann.get("failures/dead-letters")
    assert ann.page.text.count("<option") <= 210


async def test_nobody_waits_for_an_audit_or_an_identity_that_hangs(shop):
    async def hang(*_, **__):
        await anyio.sleep_forever()

    audit = MemoryAudit()
    other = type(shop)(audit=audit, timeout=0.05, breakers=[Breaker("bank")])
    await other.mail("a@x.org")
    ann = type(shop.browser())(other.console)
    await ann.get("parts")
    audit.put = hang
    for path, fields in (
        ("failures/dead-letters/act", {"do": "retry-matching", "confirmed": "yes"}),
        ("parts/breakers", {"name": "bank", "do": "open"}),
    ):
        with anyio.fail_after(20):
            await ann.post(path, **fields)
        assert ann.page.status_code == 503
    assert other.mailer.sent == []  # nothing is done that is not on record
    assert await other.dead_letters.count() == 1
    with anyio.fail_after(20):
        answer = Console({}, identify=hang, timeout=0.05)
        some = type(ann)(answer)
        await some.get()
    assert some.page.status_code == 503


async def test_the_audit_tells_nothing_of_what_goes_wrong_inside(shop):
    def broken(*_, **__):
        raise RuntimeError("password=hunter2")

    bank = Breaker("bank")
    bank.open = broken
    other = type(shop)(breakers=[bank])
    await other.mail("a@x.org")
    (failure,) = await other.store.find()
    other.store.edit = broken
    ann = type(shop.browser())(other.console)
    await ann.get("parts")
    await ann.post("parts/breakers", name="bank", do="open")
    assert ann.page.status_code == 500
    where = f"failures/dead-letters/entries/{failure.entry_id}/edit"
    await ann.get(where)
    await ann.post(where, payload='{"to": "b@x.org"}')
    assert ann.page.status_code == 500
    await ann.get("audit")
    for path in set(re.findall(r"actions/[0-9a-f-]{36}", ann.page.text)):
        await ann.get(f"http://ops.test/{path}")
        assert "why is in the log" in ann.text
        assert "hunter2" not in ann.page.text
