"""What operators do with failures, page by page, without a script."""

import re
from dataclasses import replace

import pytest

from varco_events import InMemoryEventBus

pytestmark = pytest.mark.anyio
GROUP = "failures/dead-letters/entries?error=ConnectionError&handler=conftest.Mailer.send&group="


async def group_of(shop):
    (group,) = await shop.store.groups()
    return {"error": group.error_type, "handler": group.handler, "group": group.consumer_group}


async def test_nothing_failed(shop):
    ann = shop.browser()
    await ann.get()
    assert "no failures" in ann.text
    await ann.get("failures/dead-letters")
    assert "All clear" in ann.text
    await ann.get("failures/dead-letters", channel="mail")
    assert "Nothing matches" in ann.text


async def test_one_is_retried_then_the_group_and_the_mails_arrive(shop):
    await shop.mail("ann@x.org", "bob@x.org", "eve@x.org")
    ann = shop.browser()
    await ann.get("failures/dead-letters")
    assert "3 failures wait, of 1 kind" in ann.text
    assert "ConnectionError" in ann.text
    group = await group_of(shop)
    await ann.get("failures/dead-letters/entries", **group)
    ids = ann.fields("ids")
    assert len(ids) == 3

    shop.mailer.error = None
    await ann.post("failures/dead-letters/act", do="retry-chosen", ids=ids[0], **group)
    assert ann.page.url.path.startswith("/actions/")
    assert "Finished by ann" in ann.text
    assert "1 handed over" in ann.text
    assert len(shop.mailer.sent) == 1

    await ann.get("failures/dead-letters/entries", **group)
    assert "Retry by ann" in ann.text
    assert "1 have not come back, 0 came back" in ann.text
    await ann.post("failures/dead-letters/act", do="retry-matching", **group)
    assert "Retry 2 failures?" in ann.text
    assert len(shop.mailer.sent) == 1  # it was only asked
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes", **group)
    assert "2 handed over" in ann.text
    assert sorted(to for _, to in shop.mailer.sent) == ["ann@x.org", "bob@x.org", "eve@x.org"]
    await ann.get("failures/dead-letters/entries", **group)
    assert "What was retried has not come back." in ann.text


async def test_what_came_back_what_is_new_and_what_succeeded_look_different(shop):
    await shop.mail("a@x.org", "b@x.org")
    group = await group_of(shop)
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries", **group)
    first, second = ann.fields("ids")
    await ann.post("failures/dead-letters/act", do="retry-chosen", ids=first, **group)
    await shop.mail("c@x.org")
    await ann.get("failures/dead-letters/entries", **group)
    badges = re.findall(r'class="badge (\w+)">', ann.page.text.split("<tbody>")[1])
    assert sorted(badges) == ["back", "new", "waiting"]
    assert "1 came back; 1 new since" in ann.text

    await ann.get(f"failures/dead-letters/entries/{first}")
    assert "It came back" in ann.text
    shop.mailer.error = None
    await ann.get("failures/dead-letters/entries", **group)
    await ann.post("failures/dead-letters/act", do="retry-chosen", ids=second, **group)
    await ann.get(f"failures/dead-letters/entries/{second}")
    assert "It has not come back" in ann.text
    assert "Succeeded so far" in ann.text


async def test_what_comes_back_of_a_later_retry_is_none_of_an_earlier_one(shop):
    await shop.mail("a@x.org")
    group = await group_of(shop)
    ann, error = shop.browser(), shop.mailer.error
    await ann.get("failures/dead-letters/entries", **group)
    shop.mailer.error = None
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes", **group)
    shop.mailer.error = error
    await shop.mail("b@x.org")
    await ann.get("failures/dead-letters/entries", **group)
    await ann.post(
        "failures/dead-letters/act", do="retry-chosen", ids=ann.fields("ids")[0], **group
    )
    await ann.get("failures/dead-letters/entries", **group)
    assert "1 handed over, 0 have not come back, 1 came back" in ann.text
    assert "1 handed over, 1 have not come back, 0 came back; 1 new since" in ann.text


async def test_new_failures_of_a_group_that_is_retried_are_not_swallowed(shop):
    await shop.mail(*(f"{number}@x.org" for number in range(5)))
    group = await group_of(shop)
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries", **group)
    real = shop.store.retry

    async def slow(ids):
        await shop.mail("late@x.org")  # it fails while the group is being retried
        shop.mailer.error = None
        return await real(ids)

    shop.store.retry = slow
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes", **group)
    assert "5 handed over" in ann.text
    assert len(shop.mailer.sent) == 5
    assert "late@x.org" not in {to for _, to in shop.mailer.sent}
    await ann.get("failures/dead-letters/entries", **group)
    assert "New since the retry" in ann.text


async def test_discarding_is_asked_about_and_kept(shop):
    await shop.mail("a@x.org", "b@x.org")
    group = await group_of(shop)
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries", **group)
    (first, _) = ann.fields("ids")
    await ann.post("failures/dead-letters/act", do="discard-chosen", ids=first, **group)
    assert "Discard 1 failure?" in ann.text
    assert await shop.dead_letters.count() == 2
    await ann.post(
        "failures/dead-letters/act", do="discard-chosen", ids=first, confirmed="yes", **group
    )
    assert await shop.dead_letters.count() == 1
    assert "1 discarded" in ann.text
    await ann.get(f"failures/dead-letters/entries/{first}")
    assert "ann discarded it" in ann.text
    await ann.get("audit")
    assert "Discard Dead letters ann" in ann.text


async def test_many_in_steps_in_order_of_each_key_while_new_ones_arrive(shop, monkeypatch):
    monkeypatch.setattr("varco_console._actions._STEP_SECONDS", 0.0)
    total, keys = 600, 20
    for number in range(total):
        await shop.mail(f"{number}@x.org", order=f"order-{number % keys}")
    shop.mailer.error = None
    group = await group_of(shop)
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries", **group)
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes", **group)
    steps = 0
    while "Continue" in ann.page.text:
        steps += 1
        shop.mailer.error = ConnectionError("again")
        await shop.mail(f"late-{steps}@x.org", order="order-1")
        shop.mailer.error = None
        (version,) = ann.fields("version")
        await ann.post(f"{ann.page.url}/step", version=version)
    assert f"{total:,} of {total:,}" in ann.text
    for key in range(keys):
        sent = [int(to.split("@")[0]) for order, to in shop.mailer.sent if order == f"order-{key}"]
        assert sent == list(range(key, total, keys))
    assert await shop.dead_letters.count() == steps


async def test_an_action_goes_on_where_it_was_left_and_once(shop, monkeypatch):
    monkeypatch.setattr("varco_console._actions._STEP_SECONDS", 0.0)
    monkeypatch.setattr("varco_console._actions._AT_ONCE", 2)
    await shop.mail(*(f"{number}@x.org" for number in range(5)))
    shop.mailer.error = None
    group = await group_of(shop)
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries", **group)
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes", **group)
    assert "2 of 5" in ann.text
    where, version = str(ann.page.url), ann.fields("version")[0]
    await ann.post(f"{where}/step", version=version)
    assert "4 of 5" in ann.text
    await ann.post(f"{where}/step", version=version)  # the back button: nothing is done twice
    assert "4 of 5" in ann.text
    await ann.post(f"{where}/step", version=ann.fields("version")[0])
    assert "5 of 5" in ann.text
    assert len(shop.mailer.sent) == 5


async def test_a_bus_that_is_down_pauses_an_action(shop):
    await shop.mail("a@x.org")
    group = await group_of(shop)
    await shop.bus.stop()
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries", **group)
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes", **group)
    assert "Paused by ann" in ann.text
    assert "Continue" in ann.text
    assert await shop.dead_letters.count() == 1


async def test_an_edited_copy_stands_beside_the_original(shop):
    await shop.mail("wrong")
    (failure,) = await shop.store.find()
    ann = shop.browser()
    await ann.get(f"failures/dead-letters/entries/{failure.entry_id}/edit")
    assert "hunter2" not in ann.page.text
    text = ann.text[ann.text.index("{") : ann.text.rindex("}") + 1]
    where = f"failures/dead-letters/entries/{failure.entry_id}/edit"
    await ann.post(where, payload="{")
    assert ann.page.status_code == 422
    assert "This is not JSON" in ann.text
    await ann.post(where, payload=text.replace('"hello"', '"••••••"'))
    assert "stands where nothing was hidden" in ann.text
    await ann.post(where, payload=text.replace('"wrong"', '"right@x.org"'))
    assert "Edited copy" in ann.text
    original, copy = await shop.store.find()
    assert original == failure
    assert copy.edit_of == str(failure.entry_id)
    assert b"right@x.org" in copy.envelope.payload
    assert b"hunter2" in copy.envelope.payload
    shop.mailer.error = None
    await ann.post("failures/dead-letters/act", do="retry-chosen", ids=str(copy.entry_id))
    assert shop.mailer.sent == [(None, "right@x.org")]
    assert await shop.dead_letters.count() == 1


async def test_an_entry_shows_all_that_is_known_but_what_is_hidden(shop):
    await shop.mail("a@x.org", correlation_id="request-17", order="k 1")
    (failure,) = await shop.store.find()
    ann = shop.browser()
    await ann.get(f"failures/dead-letters/entries/{failure.entry_id}")
    for text in ("request-17", "k 1", "no mail server", "a@x.org", "1 value is hidden"):
        assert text in ann.text
    assert "hunter2" not in ann.page.text


async def test_filters_and_pages(shop):
    await shop.mail(*(f"{number}@x.org" for number in range(60)), order="k")
    await shop.mail("other@x.org")
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries", key="k", period="24h")
    assert "60 failures match" in ann.text
    first = ann.fields("ids")
    (older,) = re.findall(r'href="(\?[^"]*cursor=[^"]*)"', ann.page.text)
    await ann.get("failures/dead-letters/entries" + older.replace("&amp;", "&"))
    assert len(set(first) | set(ann.fields("ids"))) == 60
    await ann.get("failures/dead-letters/entries", type="nothing.like.it")
    assert "No failure matches." in ann.text
    for query in ({"period": "1y"}, {"since": "yesterday"}, {"key": "x" * 1001}, {"key": "\0"}):
        await ann.get("failures/dead-letters/entries", **query)
        assert ann.page.status_code == 400, query
    await ann.get("failures/dead-letters/entries", cursor="bm9uZQ==")
    assert ann.page.status_code == 400
    assert "begin without one" in ann.text


async def test_an_action_that_fails_for_one_reason_says_it_once(shop):
    await shop.mail("a@x.org", "b@x.org", "c@x.org")
    nobody = InMemoryEventBus()  # no handler listens there
    setup = shop.console._setup
    named = setup.stores["dead-letters"]
    setup.stores["dead-letters"] = replace(named, store=shop.dead_letters.failures(nobody))
    ann = shop.browser()
    await ann.get("failures/dead-letters/entries")
    await ann.post("failures/dead-letters/act", do="retry-matching", confirmed="yes")
    assert "Finished by ann" in ann.text
    assert ann.text.count("NoSuchHandlerError") == 1
    assert "register its consumer first of 3" in ann.text
    assert "none was handed over" in ann.text
    await ann.get("audit")
    assert "all 0 done" in ann.text  # none of them was
