# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""Lists and pages over HTTP."""

import re
from urllib.parse import quote

from varco_http.testing._base import Client, ContractBase, code_of, content


class ListsContract(ContractBase):
    """Filters, sorts, pages and their links (RFC 8288)."""

    async def test_pages_lead_to_each_other(self) -> None:
        async with self.served() as client:
            await _tickets(client, 5)
            where = quote("points >= 0 AND title != 'nothing'")
            target = f"/projects/1/tickets?sort=-title&limit=2&filter={where}"
            seen: list[str] = []
            pages, previous = 0, None
            while target:
                page = await client("GET", target)
                assert page.status == 200, page
                seen += [row["title"] for row in content(page)["results"]]
                links = {
                    rel: link
                    for link, rel in re.findall(
                        r'<([^>]*)>; rel="(\w+)"', page.header("link") or ""
                    )
                }
                assert (content(page)["next"] is not None) == ("next" in links)
                assert ("prev" in links) == ("first" in links) == (pages > 0)
                assert "total_count" not in content(page)
                target, previous = links.get("next", ""), links.get("prev")
                pages += 1
            assert (seen, pages) == (["t4", "t3", "t2", "t1", "t0"], 3)
            back = await client("GET", str(previous))
            assert [row["title"] for row in content(back)["results"]] == ["t2", "t1"]

    async def test_a_list_is_searched_counted_and_cut(self) -> None:
        async with self.served() as client:
            await _tickets(client, 3)
            base = "/projects/1/tickets"
            counted = content(await client("GET", f"{base}?total=true&fields=pk,title&limit=1"))
            assert (counted["total_count"], counted["results"]) == (3, [{"pk": 1, "title": "t0"}])
            found = await client("POST", f"{base}/search", {"filter": "title = 't2'", "limit": 5})
            assert [row["pk"] for row in content(found)["results"]] == [3]
            one = await client("GET", f"{base}/2?fields=title")
            assert content(one) == {"title": "t1"}

    async def test_what_is_nested_belongs_to_its_parent(self) -> None:
        async with self.served() as client:
            await _tickets(client, 1)
            await client.create("another")
            assert content(await client("GET", "/projects/2/tickets"))["results"] == []
            for method, body in (("GET", None), ("PATCH", {"title": "u"}), ("DELETE", None)):
                elsewhere = await client(method, "/projects/2/tickets/1", body, if_match="*")
                assert elsewhere.status == 404, method
            for target in ("/projects/9/tickets", "/projects/9/tickets/1"):
                assert (await client("GET", target)).status == 404
            assert (await client("POST", "/projects/9/tickets", {"title": "t"})).status == 404
            both = {"title": "t", "project_id": 2}
            assert (await client("POST", "/projects/1/tickets", both)).status == 422

    async def test_a_wrong_parameter_is_refused_and_named(self) -> None:
        async with self.served(max_limit=50) as client:
            for query, named in (
                ("fliter=a", "fliter"),
                ("limit=0", "limit"),
                ("limit=x", "limit"),
                ("limit=51", "limit"),
                ("limit=1&limit=2", "limit"),
                ("fields=secret", "fields"),
                ("total=maybe", "total"),
                ("filter=nothing%20%3D%203", None),
                ("filter=name%20%3E", None),
                ("sort=nothing", None),
                ("cursor=abc", None),
                ("filter=%ff", None),
            ):
                answer = await client("GET", f"/projects?{query}")
                assert answer.status == 400, query
                if named is not None:
                    assert content(answer)["errors"][0]["parameter"] == named
            assert (await client("GET", "/projects?limit=50")).status == 200
            for target, body in (("/projects/1?x=1", None), ("/projects?x=1", {"name": "x"})):
                method = "GET" if body is None else "POST"
                assert code_of(await client(method, target, body))[0] == 400, target
            search = await client("POST", "/projects/search", {"filter": "name >"})
            assert search.status == 400
            both = await client("POST", "/projects/search?fliter=a", {})
            assert code_of(both) == (400, "http.unknown_parameter")
            for wrong_body, place in (({"total": 0}, "/total"), ({"limit": "1"}, "/limit")):
                wrong = content(await client("POST", "/projects/search", wrong_body))
                assert {each["pointer"] for each in wrong["errors"]} == {place}

    async def test_a_row_is_reached_although_an_operation_has_its_name(self) -> None:
        async with self.served() as client:
            for key in ("search", "restore", "é +;"):
                made = await client("POST", "/labels", {"pk": key, "text": "a"})
                place = str(made.header("location"))
                assert content(await client("GET", place))["pk"] == key
                head = await client("HEAD", place)
                assert (head.status, head.header("etag")) == (200, made.header("etag"))
                assert (await client("PATCH", place, {"text": "b"})).status == 200
                assert (await client("PUT", place, {"pk": key, "text": "c"})).status == 200
                assert (await client("DELETE", place)).status == 204
                back = await client("POST", f"{place}/restore")
                assert (back.status, content(back)["text"]) == (200, "c")
            assert code_of(await client("GET", "/projects/search")) == (404, "FASTREST_001")
            # Where the method is the same, the operation's name goes first.
            await client("POST", "/labels", {"pk": "stats"})
            assert content(await client("GET", "/labels/stats")) == {"labels": 4}
            assert (await client("DELETE", "/labels/stats")).status == 204

    async def test_a_key_that_no_path_could_name_is_refused(self) -> None:
        async with self.served() as client:
            for key in ("", ".", "..", "a/b", "a\nb"):
                refused = await client("POST", "/labels", {"pk": key})
                assert code_of(refused) == (422, "http.invalid_body"), key
                assert content(refused)["errors"][0]["pointer"] == "/pk"


async def _tickets(client: Client, number: int) -> None:
    await client.create()
    for each in range(number):
        made = await client("POST", "/projects/1/tickets", {"title": f"t{each}"})
        assert made.status == 201, made
