"""Attacks: on the door, on forms, on pages, on paths, on what is secret."""

import re

import httpx
import pytest

from varco_console import Console, ConsoleConfigError, Permission, TokenSignIn, hidden_by_hints
from varco_events import EventEnvelope

pytestmark = pytest.mark.anyio
SOME_ID = "11111111-2222-3333-4444-555555555555"


def paths(console):
    """Every path of the console, with something for its parameters."""
    for route in console._app.routes:
        path = route.path.replace("{entry_id:uuid}", SOME_ID).replace("{store}", "dead-letters")
        for method in route.methods - {"HEAD"}:
            yield method, path


OPEN = re.compile(r"/static/|/sign-")


async def test_it_is_closed_unless_somebody_opens_it(shop):
    closed = Console({"Dead letters": shop.store})
    for app, user, status in (
        (closed, "ann", 401),
        (shop.console, None, 401),
        (shop.console, "eve", 403),
        (shop.console, "a stranger", 403),
    ):
        transport = httpx.ASGITransport(app=app)
        headers = {"x-user": user} if user else {}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://x", headers=headers
        ) as client:
            for method, path in paths(app):
                if not OPEN.match(path):
                    answer = await client.request(method, path)
                    assert answer.status_code == status, (method, path, user)
                    assert "Dead letters" not in answer.text


async def test_a_permission_that_there_is_none_of_opens_nothing(shop):
    console = Console(
        {"Dead letters": shop.store}, identify=shop.identify, access=lambda _: {"everything"}
    )
    ann = type(shop.browser())(console)
    assert (await ann.get()).status_code == 500


async def test_every_form_needs_the_token_of_its_browser_and_user(shop):
    await shop.mail("a@x.org")
    (failure,) = await shop.store.find()
    ann, bob, other = shop.browser(), shop.browser("only-retry"), shop.browser()
    for browser in (ann, bob, other):
        await browser.get("failures/dead-letters/entries")
    for method, path in paths(shop.console):
        if method == "POST":
            for token in ("", "0" * 64, bob.token, other.token, "é"):
                answer = await ann.client.post(path, data={"csrf": token})
                assert answer.status_code in {403, 404}, (path, token)
    fields = {"do": "retry-chosen", "ids": str(failure.entry_id), "csrf": ann.token}
    for site in ("cross-site", "same-site"):
        answer = await ann.client.post(
            "failures/dead-letters/act", data=fields, headers={"sec-fetch-site": site}
        )
        assert answer.status_code == 403
    assert "Nothing was done" in answer.text
    assert shop.mailer.sent == []
    assert await shop.dead_letters.count() == 1
    answer = await ann.client.post("failures/dead-letters/act", data=fields)
    assert answer.status_code == 200


async def test_looking_does_nothing(shop):
    await shop.mail("a@x.org")
    ann = shop.browser()
    for method, path in paths(shop.console):
        if method == "GET":
            await ann.get(path, do="retry-matching", confirmed="yes")
    assert await shop.dead_letters.count() == 1
    await ann.get("audit")
    assert "Nothing yet" in ann.text


async def test_read_only_may_look_and_not_act(shop):
    await shop.mail("a@x.org")
    (failure,) = await shop.store.find()
    bob = shop.browser("bob")
    await bob.get("failures/dead-letters/entries")
    assert "no mail server" in bob.text
    assert "Retry" not in bob.text
    assert 'name="ids"' not in bob.page.text
    shop.mailer.error = None
    for do in ("retry-chosen", "retry-matching", "discard-chosen", "discard-matching"):
        await bob.post(
            "failures/dead-letters/act", do=do, ids=str(failure.entry_id), confirmed="yes"
        )
        assert bob.page.status_code == 403
        assert "You may not do this" in bob.text
    where = f"failures/dead-letters/entries/{failure.entry_id}"
    assert (await bob.get(f"{where}/edit")).status_code == 403
    assert await shop.dead_letters.count() == 1


@pytest.mark.parametrize("permission", list(Permission))
async def test_each_permission_allows_its_own(shop, permission):
    await shop.mail("a@x.org")
    (failure,) = await shop.store.find()
    user = shop.browser(f"only-{permission}")
    where = f"failures/dead-letters/entries/{failure.entry_id}"
    await user.get(where)
    assert ("a@x.org" in user.page.text) is (permission is Permission.PAYLOAD)
    assert ((await user.get(f"{where}/edit")).status_code) == 403  # it needs two
    for action in ("retry", "discard"):
        await user.get("failures/dead-letters/entries")
        await user.post("failures/dead-letters/act", do=f"{action}-chosen", ids=SOME_ID)
        assert (user.page.status_code == 200) is (permission == action)


async def test_only_who_may_begin_an_action_may_continue_it(shop, monkeypatch):
    monkeypatch.setattr("varco_console._actions._STEP_SECONDS", 0.0)
    monkeypatch.setattr("varco_console._actions._AT_ONCE", 1)
    await shop.mail("a@x.org", "b@x.org")
    shop.mailer.error = None
    ann, bob = shop.browser(), shop.browser("bob")
    await ann.get("failures/dead-letters/entries")
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes")
    await bob.get(str(ann.page.url))
    assert "1 of 2" in bob.text
    assert "Continue" not in bob.text
    await bob.post(f"{ann.page.url}/step", version=ann.fields("version")[0])
    assert bob.page.status_code == 403
    assert "You may not do this" in bob.text
    assert len(shop.mailer.sent) == 1


ATTACK = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"


async def test_nothing_that_is_shown_is_markup(shop):
    shop.mailer.error = ValueError(ATTACK)
    await shop.mail(ATTACK, order=ATTACK, subject=ATTACK, correlation_id=ATTACK)
    (failure,) = await shop.store.find()
    ann = shop.browser()
    where = f"failures/dead-letters/entries/{failure.entry_id}"
    query = {"key": ATTACK, "channel": ATTACK, "type": ATTACK, "error": ATTACK, "handler": ATTACK}
    for path, fields in (
        ("", {}),
        ("failures/dead-letters", {}),
        ("failures/dead-letters", query),
        ("failures/dead-letters/entries", {}),
        ("failures/dead-letters/entries", query),
        (where, {}),
        (f"{where}/edit", {}),
        (f"failures/{ATTACK}", {}),
        ("audit", {"before": ATTACK}),
    ):
        await ann.get(path, **fields)
        assert "<script>alert" not in ann.page.text, path
        assert "<img" not in ann.page.text, path
        assert "49" not in re.sub(r"\d\d:\d\d|\w{8}-|-\w+", "", ann.text) or "{{7*7}}" in ann.text
        assert_safe(ann.page)
    await ann.get("failures/dead-letters/entries")
    await ann.post("failures/dead-letters/act", do="retry-matching", **query)
    assert "<script>alert" not in ann.page.text
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes", **query)
    assert "<script>alert" not in ann.page.text
    await ann.get("audit")
    assert "<script>alert" not in ann.page.text


def assert_safe(answer):
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    for tag in re.findall(r"<[^>]+>", answer.text):
        assert not re.search(r"\s(on\w+|style)\s*=", re.sub(r'"[^"]*"', '""', tag)), tag
    for address in re.findall(r'(?:href|src|action)="([^"]*)"', answer.text):
        assert not re.match(r"(\w+:|//|/)", address), address


async def test_every_answer_has_the_headers_and_pages_are_not_kept(shop):
    ann = shop.browser()
    for method, path in [*paths(shop.console), ("GET", "/nowhere"), ("PUT", "/")]:
        answer = await ann.client.request(method, path, follow_redirects=False)
        assert "content-security-policy" in answer.headers, path
        if "/static/" not in path and answer.status_code != 303:
            assert answer.headers["cache-control"] == "no-store", path


@pytest.mark.parametrize(
    "path",
    [
        "static/../_console.py",
        "static/%2e%2e/_console.py",
        "static/..%2f_console.py",
        "static//etc/passwd",
        "failures/..%2f..%2fetc",
        "failures/dead-letters/entries/..%2faudit",
        "failures/DEAD-LETTERS",
        "actions/not-an-id",
    ],
)
async def test_paths_lead_nowhere_else(shop, path):
    ann = shop.browser()
    await ann.get()
    answer = await ann.client.get(f"http://ops.test/{path}")
    assert answer.status_code == 404
    assert "import" not in answer.text


async def test_forms_are_bounded(shop):
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries")
    for fields, status in (
        ({"x": "y" * 1_100_000}, 413),
        ({f"f{number}": "" for number in range(2_001)}, 400),
        ({"do": "retry-chosen", "ids": [SOME_ID[:-3] + f"{n:03}" for n in range(201)]}, 400),
        ({"do": "retry-chosen", "ids": "' OR 1=1"}, 400),
        ({"do": "retry-chosen"}, 400),
        ({"do": "drop-tables"}, 400),
        ({}, 400),
    ):
        answer = await ann.client.post(
            "failures/dead-letters/act", data={"csrf": ann.token, **fields}
        )
        assert answer.status_code == status, fields


async def test_a_store_that_does_not_answer_is_waited_for_no_longer_than_was_said(shop):
    import anyio

    shop.console._setup = shop.console._setup.__class__(
        **{
            name: getattr(shop.console._setup, name)
            for name in shop.console._setup.__slots__
            if name != "timeout"
        },
        timeout=0.05,
    )
    ann = shop.browser()
    shop.store.figures = anyio.sleep_forever
    assert (await ann.get("failures/dead-letters")).status_code == 503
    assert "No answer within 0.05 seconds" in ann.text
    assert (await ann.get()).status_code == 200  # the other stores are shown
    assert "no failures" in ann.text


async def test_what_goes_wrong_inside_is_not_told(shop, caplog):
    async def broken():
        raise RuntimeError("password=hunter2")

    shop.store.figures = broken
    ann = shop.browser()
    assert (await ann.get("failures/dead-letters")).status_code == 500
    assert "hunter2" not in ann.page.text
    known_as = re.search(r"under (\w+)\.", ann.text)[1]
    assert known_as in caplog.text


def envelope(event_type, payload=b'{"type":"x","version":1,"data":{"a":1}}', **headers):
    return EventEnvelope(event_id=SOME_ID, event_type=event_type, payload=payload, headers=headers)


async def test_what_nobody_knows_the_class_of_is_hidden():
    assert hidden_by_hints(envelope("test.nobody.knows"), ("data",))
    assert not hidden_by_hints(envelope("test.console.mail"), ("data",))
    assert hidden_by_hints(envelope("test.console.mail"), ("data", "password"))
    assert not hidden_by_hints(envelope("test.console.mail"), ("data", "to"))
    assert hidden_by_hints(envelope("test.console.mail"), ("headers", "X-Api-Token"))
    assert not hidden_by_hints(envelope("test.console.mail"), ("headers", "tenant"))


async def test_configuration_is_checked_at_once(shop):
    for names in ({"": 1}, {"a/b": 1}, {"<b>": 1}, {"A b": 1, "a-b": 1}, {"x" * 41: 1}):
        with pytest.raises(ConsoleConfigError):
            Console(names)
    with pytest.raises(ConsoleConfigError, match="16 bytes"):
        Console({}, secret=b"short")
    with pytest.raises(ConsoleConfigError, match="timeout"):
        Console({}, timeout=0)
    with pytest.raises(ConsoleConfigError, match="trace_url"):
        Console({}, trace_url="javascript:alert('{trace_id}')")


class Verifier:
    class RefusedError(Exception):
        http_status = 401

    async def verify(self, token):
        if token != "good":
            raise self.RefusedError

        class Token:
            class auth_ctx:  # noqa: N801  # the name that tokens have
                user_id = "ann"

        return Token


async def test_signing_in_with_a_token(shop):
    console = Console(
        {"Dead letters": shop.store}, identify=TokenSignIn(Verifier()), access=lambda _: ["look"]
    )
    user = type(shop.browser())(console, user=None)
    await user.get("failures/dead-letters")
    assert user.page.url.path == "/sign-in"
    await user.post("sign-in", token="bad")
    assert user.page.status_code == 401
    assert "not accepted" in user.text
    answer = await user.client.post(
        "sign-in", data={"csrf": user.token, "token": "good"}, follow_redirects=False
    )
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    await user.get()
    assert "Overview" in user.text
    await user.post("sign-out")
    assert user.page.url.path == "/sign-in"
    bearer = await user.client.get("", headers={"authorization": "Bearer good"})
    assert "Overview" in bearer.text


async def test_slashes_that_are_missing_or_too_many_lead_to_the_page(shop):
    ann = shop.browser()
    for asked, place in (
        ("/failures/dead-letters/?key=k", "../dead-letters?key=k"),
        ("/javascript:alert(1)/", "../javascript:alert(1)"),
        ("//evil.example/", "../evil.example"),
    ):
        answer = await ann.client.get(f"http://ops.test{asked}", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, place)

    async def around(scope, receive, send):  # as Litestar mounts it
        inside = scope["path"].removeprefix("/ops").rstrip("/")
        await shop.console({**scope, "path": f"{inside}/"}, receive, send)

    eve = type(ann)(around, root="/ops")
    answer = await eve.client.get("http://ops.test/ops", follow_redirects=False)
    assert answer.headers["location"] == "./ops/"
    await eve.get("failures/dead-letters")
    assert "All clear" in eve.text
    assert 'href="../static/console.css"' in eve.page.text


async def test_it_works_behind_any_prefix(shop):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    await shop.mail("a@x.org")
    app = Starlette(routes=[Mount("/deep/ops", shop.console)])
    ann = type(shop.browser())(app, root="/deep/ops")
    await ann.client.get("http://ops.test/deep/ops")
    await ann.get("http://ops.test/deep/ops")
    assert ann.page.url.path == "/deep/ops/"

    async def stripped(scope, receive, send):  # a proxy that takes the prefix away and says nothing
        await shop.console({**scope, "path": scope["path"].removeprefix("/x")}, receive, send)

    for one, root in ((ann, "/deep/ops"), (type(ann)(stripped, root="/x"), "/x")):
        await one.get("failures/dead-letters")
        links = re.findall(r'href="([^"?#][^"]*)"', one.page.text)
        assert len(links) > 5
        for link in links:
            target = one.page.url.join(link.replace("&amp;", "&"))
            assert target.path.startswith(f"{root}/"), link
            assert (await one.client.get(target)).status_code == 200, link
        await one.get("failures/dead-letters/entries")
        await one.post("failures/dead-letters/act", do="retry-matching", confirmed="yes")
        assert one.page.url.path.startswith(f"{root}/actions/")
        assert one.page.status_code == 200
