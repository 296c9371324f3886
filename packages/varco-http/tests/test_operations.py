"""The operations of a resource, from request to response, on the memory backend."""

import json
import re

import pytest

pytestmark = pytest.mark.anyio


def content(response):
    return json.loads(response.body)


async def test_a_row_is_created_shown_changed_and_removed(client):
    made = await client("POST", "/projects", {"key": "VAR", "name": "Varco"})
    assert made.status == 201, made.body
    assert made.header("location") == "/projects/1"
    assert made.header("etag") == '"1.1"'
    assert content(made)["name"] == "Varco"

    shown = await client("GET", "/projects/1")
    assert (shown.status, shown.header("etag")) == (200, '"1.1"')
    assert shown.body == made.body

    changed = await client("PATCH", "/projects/1", {"name": "varco"})
    assert (changed.status, changed.header("etag")) == (200, '"1.2"')
    assert content(changed)["key"] == "VAR"

    put = await client("PUT", "/projects/1", {"key": "VAR", "name": "V", "settings": {"a": 1}})
    assert (put.status, content(put)["settings"]) == (200, {"a": 1})
    put = await client("PUT", "/projects/1", {"key": "VAR", "name": "V"})
    assert content(put)["settings"] is None

    gone = await client("DELETE", "/projects/1")
    assert (gone.status, gone.body) == (204, b"")
    missing = await client("GET", "/projects/1")
    assert (missing.status, content(missing)["code"]) == (404, "FASTREST_001")
    assert missing.header("content-type") == "application/problem+json"
    assert content(missing)["instance"] == "/projects/1"


async def test_versions_guard_writes_and_spare_reads(client):
    await client("POST", "/projects", {"key": "VAR", "name": "Varco"})
    assert (await client("GET", "/projects/1", if_none_match='"1.1"')).status == 304
    assert (await client("GET", "/projects/1", if_none_match='W/"1.1", "x"')).status == 304
    assert (await client("GET", "/projects/1", if_none_match="*")).status == 304
    assert (await client("GET", "/projects/1", if_none_match='"1.2"')).status == 200
    assert (await client("GET", "/projects/1", if_match='"1.2"')).status == 412

    good = await client("PATCH", "/projects/1", {"name": "b"}, if_match='"1.1"')
    assert (good.status, good.header("etag")) == (200, '"1.2"')
    for stale in ('"1.1"', 'W/"1.2"', '"2.2"', '"x"', '"1.0", "1.1"', '"1.1", "9.2"'):
        answer = await client("PATCH", "/projects/1", {"name": "c"}, if_match=stale)
        assert (answer.status, content(answer)["code"]) == (412, "http.precondition_failed"), stale
        assert (await client("DELETE", "/projects/1", if_match=stale)).status == 412
    assert (
        await client("PATCH", "/projects/1", {"name": "c"}, if_match='"1.1", "1.2"')
    ).status == 200
    assert (await client("PATCH", "/projects/1", {"name": "d"}, if_match="*")).status == 200
    assert (await client("PATCH", "/projects/1", {"name": "d"}, if_none_match="*")).status == 412
    assert (await client("PATCH", "/projects/9", {"name": "d"}, if_match='"9.1"')).status == 404
    wrong = await client("PATCH", "/projects/1", {"name": "d"}, if_match="1.2")
    assert (wrong.status, content(wrong)["errors"][0]["header"]) == (400, "If-Match")
    assert (await client("DELETE", "/projects/1", if_match='"1.4"')).status == 204


async def test_a_model_without_versions_has_no_tags(client):
    made = await client("POST", "/plains", {"text": "a"})
    assert made.header("etag") is None
    assert (await client("GET", "/plains/1", if_none_match='"1.1"')).status == 200
    assert (await client("PATCH", "/plains/1", {"text": "b"}, if_match='"1.1"')).status == 412
    assert (await client("PATCH", "/plains/1", {"text": "b"}, if_match="*")).status == 200


async def test_pages_lead_to_each_other(client):
    await client("POST", "/projects", {"key": "VAR", "name": "Varco"})
    for number in range(5):
        made = await client("POST", "/projects/1/tickets", {"title": f"t{number}"})
        assert made.status == 201, made.body
    url, seen, pages = "/projects/1/tickets?sort=-title&limit=2&filter=points = 0", [], 0
    while url:
        page = await client("GET", url.replace(" ", "%20"))
        assert page.status == 200, page.body
        seen += [row["title"] for row in content(page)["results"]]
        pages += 1
        assert "total_count" not in content(page)
        links = {
            rel: target
            for target, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', page.header("link") or "")
        }
        assert ("prev" in links) == (pages > 1) == ("first" in links)
        assert (content(page)["next"] is not None) == ("next" in links)
        url = links.get("next")
    assert (seen, pages) == (["t4", "t3", "t2", "t1", "t0"], 3)
    counted = await client("GET", "/projects/1/tickets?total=true&fields=pk,title&limit=1")
    assert content(counted)["total_count"] == 5
    assert content(counted)["results"] == [{"pk": 1, "title": "t0"}]
    found = await client("POST", "/projects/1/tickets/search", {"filter": "title = 't3'"})
    assert [row["pk"] for row in content(found)["results"]] == [4]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("fliter=a", "fliter"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=1001", "limit"),
        ("limit=1&limit=2", "limit"),
        ("fields=secret", "fields"),
        ("total=maybe", "total"),
        ("filter=nothing = 3", "filter"),
        ("filter=key >", "filter"),
        ("sort=nothing", "sort"),
        ("cursor=abc", "cursor"),
        ("filter=%ff", None),
    ],
)
async def test_a_wrong_parameter_is_named(client, query, named):
    try:
        answer = await client("GET", f"/projects?{query}")
    except Exception as error:
        from varco_http import problem_response

        answer = problem_response(error)
    assert answer.status == 400
    if named:
        assert content(answer)["errors"][0]["parameter"] == named


async def test_a_nested_row_belongs_to_its_parent_only(client):
    for key in ("A", "B"):
        await client("POST", "/projects", {"key": key, "name": key})
    await client("POST", "/projects/1/tickets", {"title": "t"})
    assert (await client("GET", "/projects/1/tickets/1")).status == 200
    assert (await client("GET", "/projects/2/tickets/1")).status == 404
    assert (await client("PATCH", "/projects/2/tickets/1", {"title": "x"})).status == 404
    assert (await client("DELETE", "/projects/2/tickets/1")).status == 404
    assert (await client("POST", "/projects/2/tickets/1/close")).status == 404
    assert (await client("GET", "/projects/9/tickets")).status == 404
    assert (await client("POST", "/projects/9/tickets", {"title": "t"})).status == 404
    moved = await client("PATCH", "/projects/1/tickets/1", {"project_id": 2})
    assert (moved.status, content(moved)["errors"][0]["pointer"]) == (422, "/project_id")
    assert content(await client("GET", "/projects/2/tickets"))["results"] == []
    closed = await client("POST", "/projects/1/tickets/1/close")
    assert content(closed)["points"] == -1
    assert (await client("DELETE", "/projects/1/tickets/1")).status == 204
    assert (await client("POST", "/projects/2/tickets/1/restore")).status == 404
    assert (await client("POST", "/projects/1/tickets/1/restore")).status == 200


async def test_a_patch_merges(client):
    settings = {"a": {"b": 1, "c": [1, 2]}, "d": 2}
    await client("POST", "/projects", {"key": "A", "name": "A", "settings": settings})
    patch = {"settings": {"a": {"b": None, "c": [3]}, "e": {"f": 1}}}
    merged = await client(
        "PATCH", "/projects/1", patch, content_type="application/merge-patch+json"
    )
    assert content(merged)["settings"] == {"a": {"c": [3]}, "d": 2, "e": {"f": 1}}
    null = await client("PATCH", "/projects/1", {"settings": None})
    assert content(null)["settings"] is None
    refused = await client("PATCH", "/projects/1", {"name": None, "nothing": 1})
    assert refused.status == 422
    assert {each["pointer"] for each in content(refused)["errors"]} == {"/name", "/nothing"}
    knob = await client("PATCH", "/projects/1", {"name": "x", "op": "EXTEND"})
    assert (knob.status, content(knob)["errors"][0]["pointer"]) == (422, "/op")


async def test_bodies_that_are_none(client):
    no_type = await client("POST", "/projects", b"{}", content_type="")
    assert (no_type.status, no_type.header("accept-post")) == (415, "application/json")
    text = await client("PATCH", "/projects/1", b"{}", content_type="text/plain")
    assert text.status == 415
    assert "merge-patch" in (text.header("accept-patch") or "")
    broken = await client("POST", "/projects", b'{"key": ')
    assert (broken.status, content(broken)["code"]) == (400, "http.invalid_request")
    large = await client("POST", "/projects", b" " * 1_048_577)
    assert large.status == 413
    taken = {"key": "A", "name": "A"}
    await client("POST", "/projects", taken)
    again = await client("POST", "/projects", taken)
    assert (again.status, content(again)["errors"]) == (
        409,
        [{"message": "is taken", "pointer": "/key"}],
    )


async def test_a_key_makes_a_write_happen_once(client):
    first = await client("POST", "/projects", {"key": "A", "name": "A"}, idempotency_key="k1")
    again = await client("POST", "/projects", {"key": "A", "name": "A"}, idempotency_key='"k1"')
    assert (again.status, again.body) == (201, first.body)
    assert again.header("location") == first.header("location") == "/projects/1"
    assert again.header("idempotency-replayed") == "true"
    other = await client("POST", "/projects", {"key": "B", "name": "A"}, idempotency_key="k1")
    assert (other.status, content(other)["code"]) == (422, "http.idempotency_mismatch")
    wrong = await client("POST", "/projects", {"key": "A", "name": "A"}, idempotency_key="k2")
    assert wrong.status == 409
    mended = await client("POST", "/projects", {"key": "C", "name": "A"}, idempotency_key="k2")
    assert mended.status == 201
    one = await client("PATCH", "/projects/1", {"name": "x"}, idempotency_key="k", if_match='"1.1"')
    two = await client("PATCH", "/projects/1", {"name": "x"}, idempotency_key="k", if_match='"1.1"')
    assert (one.status, two.status, two.body, two.header("etag")) == (200, 200, one.body, '"1.2"')


@pytest.mark.parametrize("key", ["x", "", "1.0", "+1", " 1", "9" * 30, "１", "1\x00", "-", "--1"])
async def test_a_text_that_is_no_key_names_no_row(client, key):
    from urllib.parse import quote

    assert (await client("GET", f"/projects/{quote(key)}")).status == 404
