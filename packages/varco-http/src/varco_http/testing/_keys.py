# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""Writes that are sent again, over HTTP."""

from typing import TYPE_CHECKING

import anyio

from varco_http.testing._base import ContractBase, code_of, content

if TYPE_CHECKING:
    from varco_http._message import HttpResponse


class IdempotencyContract(ContractBase):
    """A write with an `Idempotency-Key` has one effect."""

    async def test_the_same_key_has_one_effect_and_the_same_answer(self) -> None:
        async with self.served() as client:
            body = {"name": "x"}
            first = await client("POST", "/projects", body, idempotency_key="k1")
            again = await client("POST", "/projects", body, idempotency_key="k1")
            assert (first.status, again.status, again.body) == (201, 201, first.body)
            assert again.header("location") == first.header("location")
            assert (first.header("idempotency-replayed"), again.header("idempotency-replayed")) == (
                None,
                "true",
            )
            other = await client("POST", "/projects", {"name": "y"}, idempotency_key="k1")
            assert code_of(other) == (422, "http.idempotency_mismatch")
            # Another caller's key is another key, and so is that of another path.
            amys = await client("POST", "/projects", body, who="amy", idempotency_key="k1")
            assert (amys.status, content(amys)["pk"]) == (201, 2)
            for _ in range(2):
                patched = await client(
                    "PATCH", "/projects/1", {"note": "n"}, if_match='"1.1"', idempotency_key="k1"
                )
                assert (patched.status, patched.header("etag")) == (200, '"1.2"')
            for wrong in ("", "k" * 256, "k k", "é"):
                if wrong:
                    bad = await client("POST", "/projects", body, idempotency_key=wrong)
                    assert bad.status == 400, wrong
            assert content(await client("GET", "/projects?total=true"))["total_count"] == 2

    async def test_a_row_that_is_restored_again_is_restored_once(self) -> None:
        async with self.served() as client:
            await client("POST", "/labels", {"pk": "a"})
            await client("DELETE", "/labels/a")
            answers = [
                await client("POST", "/labels/a/restore", idempotency_key="k1") for _ in range(2)
            ]
            assert [each.status for each in answers] == [200, 200]
            assert answers[0].body == answers[1].body

    async def test_an_error_is_not_kept(self) -> None:
        async with self.served() as client:
            await client.create()
            body = {"name": "y"}
            stale = await client(
                "PATCH", "/projects/1", body, if_match='"1.7"', idempotency_key="k1"
            )
            assert stale.status == 412
            good = await client(
                "PATCH", "/projects/1", body, if_match='"1.1"', idempotency_key="k1"
            )
            assert good.status == 200

    async def test_a_key_that_is_in_use_is_a_conflict(self) -> None:
        async with self.served() as client:
            answers: list[HttpResponse] = []
            body = {"name": client.world.projects.slow}

            async def first() -> None:
                answers.append(await client("POST", "/projects", body, idempotency_key="k1"))

            async with anyio.create_task_group() as group:
                group.start_soon(first)
                await client.world.entered.wait()
                second = await client("POST", "/projects", body, idempotency_key="k1")
                assert code_of(second) == (409, "http.idempotency_in_flight")
                assert second.header("retry-after") == "1"
                client.world.projects.go_on.set()
            assert [each.status for each in answers] == [201]
            third = await client("POST", "/projects", body, idempotency_key="k1")
            assert (third.status, third.body) == (201, answers[0].body)
