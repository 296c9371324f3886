# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""What an application answers as a whole, whichever framework it is made with."""

import re

from varco_http.testing._base import ContractBase, check_answer, code_of, content
from varco_http.testing._document import check_document
from varco_http.testing._world import SECRET


class AnswersContract(ContractBase):
    """Problems (RFC 9457) of the framework and of services, request ids, health, the document."""

    async def test_the_errors_of_the_framework_are_problems(self) -> None:
        async with self.served() as client:
            for target in ("/nowhere", "/projects/1/nowhere", "/", "/%ff", "/projects/1/2/3"):
                assert code_of(await client("GET", target)) == (404, "http.not_found"), target
            row = {"GET", "HEAD", "PUT", "PATCH", "DELETE"}
            for method, target, allowed in (
                ("PATCH", "/projects", {"GET", "HEAD", "POST"}),
                ("DELETE", "/projects", {"GET", "HEAD", "POST"}),
                ("POST", "/projects/1", row),
                ("POST", "/projects/1/tickets/1", row),
                ("POST", "/health/live", {"GET", "HEAD"}),
                ("DELETE", "/projects/1/break", {"POST"}),
            ):
                refused = await client(method, target)
                assert code_of(refused) == (405, "http.method_not_allowed")
                told = set(str(refused.header("allow")).split(", "))
                assert allowed == told - {"OPTIONS", "QUERY"}, (method, target)
                options = await client("OPTIONS", target)
                assert (options.status, options.body) == (204, b""), target
                assert set(str(options.header("allow")).split(", ")) == told | {"OPTIONS"}
            assert (await client("BREW", "/projects")).status == 405
            # What refers to the request is a reference, with nothing of its path decoded.
            for target in ("/nowhere", "/projects/a%20%3Fb%C3%A9", "/nowhere/%22%23"):
                missing = content(await client("GET", target))
                assert (missing["status"], missing["instance"]) == (404, target)

    async def test_head_is_answered_as_get_without_the_body(self) -> None:
        async with self.served() as client:
            await client.create()
            await client("POST", "/projects/1/tickets", {"title": "t"})
            for target in ("/projects", "/projects/1", "/projects/1/tickets?limit=1"):
                shown = await client("GET", target)
                head = await client("HEAD", target)
                assert (head.status, head.body) == (200, b""), target
                for name in ("content-type", "content-length", "etag", "cache-control", "link"):
                    assert head.header(name) == shown.header(name), (target, name)
            for target in ("/health/live", "/health/ready", self.openapi_path):
                assert (await client("HEAD", target)).status == 200, target
            tag = str((await client("GET", "/projects/1")).header("etag"))
            assert (await client("HEAD", "/projects/1", if_none_match=tag)).status == 304
            for target, who, status in (("/projects/9", "ann", 404), ("/projects", "x", 401)):
                refused = await client.send(
                    "HEAD", target, [(b"authorization", f"Bearer {who}".encode())], b""
                )
                assert (refused.status, refused.body) == (status, b""), target

    async def test_a_body_that_is_too_large_is_refused(self) -> None:
        async with self.served() as client:
            large = b'{"name": "%b"}' % (b"x" * 1_100_000)
            assert code_of(await client("POST", "/projects", large)) == (413, "http.body_too_large")
            await client.create()
            ticket = {"title": "t" * 1_000}
            answer = await client("POST", "/projects/1/tickets", ticket)
            assert code_of(answer) == (413, "http.body_too_large")

    async def test_a_body_that_does_not_fit_is_explained(self) -> None:
        async with self.served() as client:
            wrong = await client("POST", "/projects", {"name": 3, "note": [], "x": 1})
            assert code_of(wrong) == (422, "http.invalid_body")
            assert {"/name", "/note"} <= {each["pointer"] for each in content(wrong)["errors"]}
            for body in (b"", b"{", b"\xff", b'{"name": NaN}', b"[" * 100_000):
                answer = await client("POST", "/projects", body)
                assert answer.status in {400, 422}, body[:20]

    async def test_what_nobody_outside_can_mend_is_not_told(self) -> None:
        async with self.served() as client:
            await client.create()
            for action in ("break", "misread"):
                answer = await client("POST", f"/projects/1/{action}")
                assert code_of(answer) == (500, "FASTREST_500"), action
                assert SECRET not in answer.body.decode()
            outage = await client("POST", "/projects/1/fade")
            assert code_of(outage) == (503, "contract.outage")
            assert outage.header("retry-after") == "7"
            assert SECRET not in outage.body.decode()

    async def test_every_answer_has_the_id_of_its_request(self) -> None:
        async with self.served() as client:
            for target in ("/projects", "/nowhere", "/projects/9", "/health/live"):
                given = await client("GET", target, x_request_id="abc-1")
                assert given.header("x-request-id") == "abc-1", target
                made = [await client("GET", target, x_request_id="a b") for _ in range(2)]
                ids = {str(each.header("x-request-id")) for each in made}
                assert len(ids) == 2
                assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids)
            refused = await client("DELETE", "/projects", x_request_id="abc-2")
            assert refused.header("x-request-id") == "abc-2"

    async def test_health_needs_no_caller_and_names_what_failed(self) -> None:
        async with self.served() as client:
            health = client.world.application.health

            async def good() -> bool:
                return True

            async def bad() -> None:
                raise ZeroDivisionError(SECRET)

            health.register("database", good)
            ready = await client("GET", "/health/ready", authorization="")
            assert (ready.status, content(ready)["status"]) == (200, "ready")
            health.register("mailer", bad)
            failed = await client("GET", "/health/ready", authorization="")
            assert code_of(failed) == (503, "http.not_ready")
            assert failed.header("retry-after") == "1"
            assert content(failed)["parts"] == {"database": "ready", "mailer": "failed"}
            assert SECRET not in failed.body.decode()
            live = await client("GET", "/health/live", authorization="")
            assert live.status == 200

    async def test_the_document_is_valid_and_says_what_the_wire_does(self) -> None:
        async with self.served() as client:
            document = client.document
            check_document(document)
            patch = document["paths"]["/projects/{pk}"]["patch"]
            assert patch["security"] == [{"bearer": []}]
            assert {"200", "400", "401", "403", "404", "409", "412", "413", "415", "422"} <= set(
                patch["responses"]
            )
            assert (
                "428"
                in document["paths"]["/projects/{project_id}/tickets/{pk}"]["patch"]["responses"]
            )
            assert "query" not in document["paths"]["/projects"]
            assert {"/health/live", "/health/ready"} <= set(document["paths"])

    async def test_a_method_that_no_standard_knows_is_answered(self) -> None:
        async with self.served() as client:
            for method in ("HEAD", "OPTIONS", "TRACE", "QUERY", "X"):
                answer = await client.send(method, "/projects", [(b"authorization", b"Bearer ann")])
                assert answer.status < 500
                if method != "HEAD":
                    check_answer(answer)
