# ruff: noqa: S101, PLR2004 - these are tests
"""No tenant sees, counts or changes another's rows, whatever it asks for by whatever route."""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import quote

from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from varco_http._message import HttpResponse
from varco_http.testing._base import Client, ContractBase, content

_WHO: Final = {"ann": "acme", "bob": "other"}
_CALLERS: Final = st.sampled_from(sorted(_WHO))
_PKS: Final = st.integers(1, 8)
_MATCHES: Final = st.sampled_from(["", "*", '"1.1"', '"2.2"', '"1.2", "3.1"'])
_KEYS: Final = st.sampled_from(["", "the-same"])
_QUERIES: Final = st.sampled_from(
    ["", "total=true", "limit=1", "sort=-pk&limit=2&total=true", "fields=pk", "total=1"]
)
_FILTERS: Final = st.sampled_from(["", "pk > 0 OR pk < 0", "pk IN (1, 2, 3, 4, 5)", "NOT pk = 1"])
# A chain of rules is as many requests; the profile says how many chains.
_PART: Final = 20
_STEPS: Final = 15


class IsolationContract(ContractBase):
    """Two tenants use every route, with the keys, tags, cursors and rows of each other."""

    chains: int | None = None
    """How many chains of requests are tried; by default the profile of Hypothesis says."""

    def test_no_tenant_sees_or_changes_what_another_has_by_any_route(self) -> None:
        with start_blocking_portal("asyncio") as portal:

            class Machine(_Tenants):
                def open(self, stack: ExitStack) -> tuple[Client, Callable[..., Any]]:
                    served = portal.wrap_async_context_manager(test.served())
                    return stack.enter_context(served), portal.call

            test = self
            chains = self.chains or max(settings().max_examples // _PART, 5)
            small = settings(max_examples=chains, stateful_step_count=_STEPS, deadline=None)
            run_state_machine_as_test(Machine, settings=small)


class _Tenants(RuleBasedStateMachine):
    """What each tenant has written, by its key, beside what the application says it has."""

    def __init__(self) -> None:
        super().__init__()
        self._stack: Final = ExitStack()
        self._client, self._call = self.open(self._stack)
        self._projects: Final[dict[str, dict[int, str]]] = {who: {} for who in _WHO}
        self._cursors: Final[dict[str, list[str]]] = {who: [] for who in _WHO}
        self._written = 0

    def open(self, stack: ExitStack) -> tuple[Client, Callable[..., Any]]:
        """Serve a new application, and give a client of it and what runs its coroutines."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Look at what each tenant has in the end."""
        try:
            for who, projects in self._projects.items():
                page = content(self._ask(who, "GET", "/projects?total=true"))
                assert {row["pk"]: row["name"] for row in page["results"]} == projects
                assert page["total_count"] == len(projects)
        finally:
            self._stack.close()

    def _ask(self, who: str, method: str, target: str, body: Any = None, **more: str) -> Any:
        async def ask() -> HttpResponse:
            return await self._client(method, target, body, who=who, **more)

        answer = self._call(ask)
        seen = b" ".join([answer.body, *(value for _, value in answer.raw_headers())])
        for other in _WHO:
            assert other == who or f"of {other}".encode() not in seen, (who, method, target, answer)
        return answer

    def _text(self, who: str) -> str:
        self._written += 1
        return f"{self._written} of {who}"

    def _owns(self, who: str, pk: int, answer: HttpResponse, others: Collection[int]) -> bool:
        """Whether a row is the caller's; if it is not, it has to be as if it were not there."""
        if pk in self._projects[who]:
            return True
        assert answer.status in others, (who, pk, answer)
        return False

    @initialize()
    def begin(self) -> None:
        """Let each tenant have a project with a ticket."""
        for who in _WHO:
            self.create(who, "")
            self.nested(who, max(self._projects[who]))

    @rule(who=_CALLERS, key=_KEYS)
    def create(self, who: str, key: str) -> None:
        """A tenant creates a project, perhaps with a key that the other has used."""
        name = f"{key} of {who}" if key else self._text(who)
        made = self._ask(who, "POST", "/projects", {"name": name}, idempotency_key=key)
        assert made.status == 201, made
        pk = content(made)["pk"]
        assert content(made)["name"] == name
        if made.header("idempotency-replayed") is None:
            assert not any(pk in rows for rows in self._projects.values())
            self._projects[who][pk] = name

    @rule(who=_CALLERS, pk=_PKS)
    def nested(self, who: str, pk: int) -> None:
        """A tenant creates a ticket in a project of anybody."""
        made = self._ask(who, "POST", f"/projects/{pk}/tickets", {"title": self._text(who)})
        if self._owns(who, pk, made, {404}):
            assert made.status == 201, made

    @rule(who=_CALLERS, pk=_PKS, match=_MATCHES, method=st.sampled_from(["PATCH", "PUT"]))
    def write(self, who: str, pk: int, match: str, method: str) -> None:
        """A tenant writes a project of anybody."""
        name = self._text(who)
        answer = self._ask(who, method, f"/projects/{pk}", {"name": name}, if_match=match)
        if self._owns(who, pk, answer, {404, 412}) and answer.status == 200:
            self._projects[who][pk] = name

    @rule(who=_CALLERS, pk=_PKS, match=_MATCHES)
    def delete(self, who: str, pk: int, match: str) -> None:
        """A tenant deletes a project of anybody."""
        answer = self._ask(who, "DELETE", f"/projects/{pk}", if_match=match)
        if self._owns(who, pk, answer, {404, 412}) and answer.status == 204:
            del self._projects[who][pk]

    @rule(who=_CALLERS, pk=_PKS, child=_PKS, match=_MATCHES, data=st.data())
    def tickets(self, who: str, pk: int, child: int, match: str, data: st.DataObject) -> None:
        """A tenant does something with a ticket of a project, each of anybody."""
        method = data.draw(st.sampled_from(["GET", "HEAD", "PATCH", "PUT", "DELETE"]))
        body = {"title": self._text(who)} if method.startswith("P") else None
        target = f"/projects/{pk}/tickets/{child}"
        answer = self._ask(who, method, target, body, if_match=match)
        self._owns(who, pk, answer, {404, 412, 428})

    @rule(who=_CALLERS, pk=_PKS, tag=_MATCHES, method=st.sampled_from(["GET", "HEAD"]))
    def read(self, who: str, pk: int, tag: str, method: str) -> None:
        """A tenant reads a project of anybody, perhaps with a tag that it has seen elsewhere."""
        answer = self._ask(who, method, f"/projects/{pk}", if_none_match=tag)
        if self._owns(who, pk, answer, {404}):
            assert answer.status in {200, 304}, answer

    @rule(who=_CALLERS, pk=_PKS, action=st.sampled_from(["fade", "close"]))
    def act(self, who: str, pk: int, action: str) -> None:
        """A tenant calls an action, which says nothing of what is there."""
        assert self._ask(who, "POST", f"/projects/{pk}/{action}").status in {404, 503}

    @rule(who=_CALLERS, query=_QUERIES, where=_FILTERS, pk=_PKS, nested=st.booleans())
    def list(self, who: str, query: str, where: str, pk: int, *, nested: bool) -> None:
        """A tenant lists what there is."""
        base = f"/projects/{pk}/tickets" if nested else "/projects"
        texts = [query, f"filter={quote(where)}" if where else ""]
        answer = self._ask(who, "GET", f"{base}?{'&'.join(filter(None, texts))}")
        if nested and not self._owns(who, pk, answer, {404}):
            return
        assert answer.status == 200, answer
        page = content(answer)
        if not nested:
            assert {row["pk"] for row in page["results"]} <= self._projects[who].keys()
            assert page.get("total_count", 0) <= len(self._projects[who])
            if page["next"] is not None and not where:
                self._cursors[who].append(page["next"]["cursor"])

    @rule(who=_CALLERS, whose=_CALLERS, where=_FILTERS, data=st.data())
    def go_on(self, who: str, whose: str, where: str, data: st.DataObject) -> None:
        """A tenant asks for the page after, by a cursor of anybody, and by a search."""
        given: dict[str, Any] = {"filter": where or None, "total": True}
        if self._cursors[whose]:
            given["cursor"] = data.draw(st.sampled_from(self._cursors[whose]))
        answer = self._ask(who, "POST", "/projects/search", given)
        if "cursor" in given and who != whose:
            assert answer.status == 400, answer
        if answer.status == 200:
            found = content(answer)["results"]
            assert {row["pk"] for row in found} <= self._projects[who].keys()
