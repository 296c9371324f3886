# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""Who may do what over HTTP, and what of which tenant."""

from varco_http._tenants import TenantFromHeader
from varco_http.testing._base import ContractBase, code_of, content


class AccessContract(ContractBase):
    """Callers, their tenants and what they are granted."""

    async def test_who_is_not_known_is_told_how_to_become_so(self) -> None:
        async with self.served() as client:
            await client.create()
            for header, challenge in (
                ("", 'Bearer realm="contract"'),
                ("Basic YTpi", 'Bearer realm="contract"'),
                ("Bearer forged", 'Bearer realm="contract", error="invalid_token"'),
                ("Bearer", 'Bearer realm="contract", error="invalid_token"'),
                ("Bearer a b", 'Bearer realm="contract", error="invalid_token"'),
            ):
                for method, target, body in (
                    ("GET", "/projects/1", None),
                    ("GET", "/projects", None),
                    ("POST", "/projects", {"name": "x"}),
                    ("POST", "/projects", b"\xff"),
                    ("DELETE", "/projects/1", None),
                    ("GET", "/projects/9", None),
                    ("POST", "/projects/1/fade", None),
                ):
                    answer = await client(method, target, body, authorization=header)
                    assert code_of(answer) == (401, "http.unauthenticated"), (header, target)
                    assert answer.header("www-authenticate") == challenge
                    assert "forged" not in answer.body.decode()

    async def test_the_scheme_may_be_in_any_case(self) -> None:
        async with self.served() as client:
            for scheme in ("bearer", "BEARER", "bEaReR"):
                answer = await client("GET", "/projects", authorization=f"{scheme} ann")
                assert answer.status == 200

    async def test_what_is_not_granted_is_forbidden(self) -> None:
        async with self.served() as client:
            await client.create()
            assert (await client("GET", "/projects/1", who="vic")).status == 200
            made = await client("POST", "/projects", {"name": "y"}, who="vic")
            assert made.status == 403
            # RFC 6750, section 3.1: the token is good, and not enough.
            challenge = 'Bearer realm="contract", error="insufficient_scope"'
            assert made.header("www-authenticate") == challenge
            for method, body in (("PATCH", {"name": "y"}), ("DELETE", None)):
                assert (await client(method, "/projects/1", body, who="vic")).status in {403, 404}
            assert content(await client("GET", "/projects/1"))["name"] == "x"

    async def test_no_tenant_sees_what_another_has(self) -> None:
        async with self.served() as client:
            await client.create()
            await client("POST", "/projects/1/tickets", {"title": "t"})
            assert content(await client("GET", "/projects", who="bob"))["results"] == []
            for method, target, body in (
                ("GET", "/projects/1", None),
                ("PATCH", "/projects/1", {"name": "mine"}),
                ("PUT", "/projects/1", {"name": "mine"}),
                ("DELETE", "/projects/1", None),
                ("GET", "/projects/1/tickets", None),
                ("POST", "/projects/1/tickets", {"title": "t"}),
                ("GET", "/projects/1/tickets/1", None),
            ):
                answer = await client(method, target, body, who="bob")
                assert code_of(answer) == (404, "FASTREST_001"), (method, target)
            assert content(await client("GET", "/projects/1"))["name"] == "x"
            assert code_of(await client("GET", "/projects", who="lost")) == (403, "http.tenant")

    async def test_a_tenant_that_the_client_names_has_to_be_its_own(self) -> None:
        async with self.served(TenantFromHeader(claim="tenants")) as client:
            made = await client("POST", "/projects", {"name": "x"}, x_tenant="acme")
            assert made.status == 201
            there = await client("GET", "/projects", x_tenant="umbrella")
            assert content(there)["results"] == []
            for tenant in ("other", "", "acme, umbrella"):
                refused = await client("GET", "/projects", x_tenant=tenant)
                assert code_of(refused) == (403, "http.tenant"), tenant
            bobs = await client("GET", "/projects", who="bob", x_tenant="acme")
            assert code_of(bobs) == (403, "http.tenant")
