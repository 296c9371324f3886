# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""Versions and patches over HTTP."""

from varco_http.testing._base import MERGE_PATCH, ContractBase, code_of, content


class ConditionsContract(ContractBase):
    """Conditional requests (RFC 9110) and merge patches (RFC 7396)."""

    async def test_a_row_is_created_shown_changed_and_removed(self) -> None:
        async with self.served() as client:
            made = await client.create("x", note="n")
            assert (made.header("location"), made.header("etag")) == ("/projects/1", '"1.1"')
            shown = await client("GET", "/projects/1")
            assert (shown.body, shown.header("etag")) == (made.body, '"1.1"')
            changed = await client("PATCH", "/projects/1", {"name": "y"})
            assert (changed.status, changed.header("etag")) == (200, '"1.2"')
            assert (content(changed)["name"], content(changed)["note"]) == ("y", "n")
            put = await client("PUT", "/projects/1", {"name": "z"})
            assert (put.status, content(put)["name"], content(put)["note"]) == (200, "z", None)
            assert (await client("DELETE", "/projects/1")).status == 204
            assert code_of(await client("GET", "/projects/1")) == (404, "FASTREST_001")
            assert code_of(await client("GET", "/projects/no-key")) == (404, "FASTREST_001")

    async def test_what_the_client_has_is_not_sent_again(self) -> None:
        async with self.served() as client:
            await client.create()
            for tags in ('"1.1"', 'W/"1.1"', '"x", W/"1.1" , "y"', "*", ' ,"1.1",'):
                same = await client("GET", "/projects/1", if_none_match=tags)
                assert (same.status, same.header("etag")) == (304, '"1.1"'), tags
            for tags in ('"1.2"', 'W/"2.1"', '""'):
                assert (await client("GET", "/projects/1", if_none_match=tags)).status == 200
            assert code_of(await client("GET", "/projects/1", if_match='"1.2"'))[0] == 412

    async def test_a_write_finds_the_version_that_it_expects_or_does_nothing(self) -> None:
        async with self.served() as client:
            await client.create()
            good = await client("PATCH", "/projects/1", {"name": "b"}, if_match='"1.1"')
            assert (good.status, good.header("etag")) == (200, '"1.2"')
            for stale in ('"1.1"', 'W/"1.2"', '"2.2"', '"1.0", "1.1"', '""'):
                for method, body in (("PATCH", {"name": "c"}), ("PUT", {"name": "c"})):
                    answer = await client(method, "/projects/1", body, if_match=stale)
                    assert code_of(answer) == (412, "http.precondition_failed"), (method, stale)
                assert (await client("DELETE", "/projects/1", if_match=stale)).status == 412
            none = await client("PATCH", "/projects/1", {"name": "c"}, if_none_match="*")
            assert none.status == 412
            assert content(await client("GET", "/projects/1"))["name"] == "b"
            listed = await client("PUT", "/projects/1", {"name": "c"}, if_match='"1.1", "1.2"')
            assert (listed.status, listed.header("etag")) == (200, '"1.3"')
            assert (await client("PATCH", "/projects/1", {"name": "d"}, if_match="*")).status == 200
            for absent in ("*", '"9.1"'):
                missing = await client("PATCH", "/projects/9", {"name": "d"}, if_match=absent)
                assert missing.status == 404
            wrong = await client("PATCH", "/projects/1", {"name": "d"}, if_match="1.4")
            assert wrong.status == 400
            assert content(wrong)["errors"][0]["header"].lower() == "if-match"
            assert (await client("DELETE", "/projects/1", if_match='"1.4"')).status == 204

    async def test_a_resource_may_demand_to_hear_the_version(self) -> None:
        async with self.served() as client:
            await client.create()
            made = await client("POST", "/projects/1/tickets", {"title": "t"})
            place = str(made.header("location"))
            assert place == "/projects/1/tickets/1"
            for method, body in (("PATCH", {"title": "u"}), ("PUT", {"title": "u"})):
                refused = await client(method, place, body)
                assert code_of(refused) == (428, "http.precondition_required")
            assert (await client("DELETE", place)).status == 428
            tag = str(made.header("etag"))
            assert (await client("PATCH", place, {"title": "u"}, if_match=tag)).status == 200
            assert (await client("DELETE", place, if_match="*")).status == 204

    async def test_a_patch_tells_missing_from_null(self) -> None:
        async with self.served() as client:
            await client.create("x", note="n", settings={"a": 1, "b": {"c": 2, "d": 3}})

            async def patch(body: object, kind: str = MERGE_PATCH) -> tuple[int, dict[str, object]]:
                answer = await client("PATCH", "/projects/1", body, content_type=kind)
                return answer.status, content(answer)

            status, found = await patch({})
            assert (status, found["note"], found["name"]) == (200, "n", "x")
            status, found = await patch({"note": None})
            assert (status, found["note"], found["name"]) == (200, None, "x")
            status, found = await patch({"settings": {"a": None, "b": {"c": 4}}})
            assert found["settings"] == {"b": {"c": 4, "d": 3}}
            assert (await patch({"settings": None}, "application/json"))[1]["settings"] is None
            status, found = await patch({"name": None})
            assert (status, found["code"]) == (422, "http.invalid_body")
            answer = await client("PATCH", "/projects/1", {"name": None}, content_type=MERGE_PATCH)
            assert content(answer)["errors"][0]["pointer"] == "/name"
            for body in ([], "x", 3, b"null", [{"op": "remove", "path": "/note"}]):
                assert (await patch(body))[0] == 422, body
            assert (await patch(b"{"))[0] == 400

    async def test_a_body_is_of_a_media_type_that_is_taken(self) -> None:
        async with self.served() as client:
            await client.create()
            for kind in ("text/plain", "application/json-patch+json", "multipart/form-data", "x"):
                patch = await client("PATCH", "/projects/1", {"name": "y"}, content_type=kind)
                assert code_of(patch) == (415, "http.media_type")
                assert MERGE_PATCH in str(patch.header("accept-patch"))
                post = await client("POST", "/projects", {"name": "y"}, content_type=kind)
                assert code_of(post) == (415, "http.media_type")
            query = await client("QUERY", "/projects", {}, content_type="text/plain")
            if query.status != 405:  # not every framework routes it
                assert query.header("accept-query") == "application/json"
            packed = await client("POST", "/projects", {"name": "y"}, content_encoding="gzip")
            assert code_of(packed) == (415, "http.media_type")
            assert packed.header("accept-encoding") == "identity"
            kind = "Application/JSON; charset=utf-8"
            assert (
                await client("POST", "/projects", {"name": "y"}, content_type=kind)
            ).status == 201
