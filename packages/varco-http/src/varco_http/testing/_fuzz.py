# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""Whatever bytes a client sends."""

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote_from_bytes

from anyio.from_thread import start_blocking_portal
from hypothesis import example, given
from hypothesis import strategies as st

from varco_http.testing._base import ContractBase, check_answer

_METHODS: Final = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"])
_PLACES: Final = st.sampled_from(
    ["", "/projects", "/projects/1", "/projects/1/tickets", "/projects/1/tickets/1", "/health"]
)
_NAMES: Final = st.sampled_from(
    [
        b"accept",
        b"authorization",
        b"content-type",
        b"cookie",
        b"host",
        b"idempotency-key",
        b"if-match",
        b"if-none-match",
        b"origin",
        b"range",
        b"traceparent",
        b"x-correlation-id",
        b"x-request-id",
        b"x-tenant",
    ]
)
# What a server lets through in the value of a header.
_VALUES: Final = st.binary(max_size=40).map(
    lambda value: bytes(each for each in value if each >= 0x20 and each != 0x7F)
)
_BODIES: Final = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"{}", b"[]", b"null", b'{"name": "x"}', b'{"name": null}', b'"\\ud800"']),
)
_PARTS: Final = st.lists(st.binary(max_size=12).map(quote_from_bytes), max_size=3)
_QUERIES: Final = st.lists(
    st.tuples(
        st.sampled_from(["filter", "sort", "limit", "cursor", "fields", "total"])
        | st.binary(max_size=5).map(quote_from_bytes),
        st.binary(max_size=20).map(quote_from_bytes),
    ),
    max_size=3,
)
_HEADERS: Final = st.dictionaries(_NAMES, _VALUES, max_size=3)
_USUAL: Final = {b"authorization": b"Bearer ann", b"content-type": b"application/json"}

type _Long = tuple[str, str, dict[bytes, bytes], bytes]


def _header(name: bytes, unit: bytes) -> Callable[[int], _Long]:
    return lambda n: ("PATCH", "/projects/1", {name: unit * n}, b"{}")


def _query(text: str, unit: str) -> Callable[[int], _Long]:
    return lambda n: ("GET", f"/projects?{text}{unit * n}", {}, b"")


def _body(start: bytes, unit: bytes, end: bytes) -> Callable[[int], _Long]:
    return lambda n: ("POST", "/projects", {}, start + unit * n + end * n)


# What is long, by how many times a part of it is there.
_LONG: Final[tuple[Callable[[int], _Long], ...]] = (
    _header(b"if-match", b'"1.1",'),
    _header(b"if-match", b" ,"),
    _header(b"if-none-match", b'W/"'),
    _header(b"authorization", b"Bearer "),
    _header(b"content-type", b"a/b;"),
    _header(b"cookie", b"a=b;"),
    _header(b"idempotency-key", b"k"),
    _header(b"x-request-id", b"r"),
    _header(b"accept", b"a/b;q=0.1,"),
    _query("filter=", "("),
    _query("filter=", "NOT%20"),
    _query("filter=name%20=%20'a'", "%20OR%20name%20=%20'a'"),
    _query("filter=name%20LIKE%20'", "%25a"),
    _query("filter=name%20=%20'", "a"),
    _query("filter=", "%ff"),
    _query("sort=", "name,"),
    _query("limit=", "9"),
    _query("cursor=", "A"),
    _query("fields=", "name,"),
    _query("", "a=b&"),
    lambda n: ("GET", "/projects/" + "9" * n, {}, b""),
    lambda n: ("GET", "/projects" + "/1" * n, {}, b""),
    lambda n: ("GET", "/projects/" + "%2F" * n, {}, b""),
    _body(b'{"name": ', b"[", b"]"),
    _body(b'{"name": ', b'{"a":', b"}"),
    _body(b'{"name": "x", "settings": {"a": [0', b",1", b""),
    _body(b'{"name": "', b"\\u0041", b""),
    _body(b'{"name": ', b"9", b""),
)


class FuzzContract(ContractBase):
    """Any bytes in a header, a path, a parameter or a body get an answer that a client can use."""

    def test_any_bytes_get_an_answer_that_is_no_fault(self) -> None:
        with (
            start_blocking_portal("asyncio") as portal,
            portal.wrap_async_context_manager(self.served()) as client,
        ):
            portal.call(client.create)

            @given(_METHODS, _PLACES, _PARTS, _QUERIES, _HEADERS, _BODIES)
            @example("GET", "/projects", [], [("filter", "%ff")], {}, b"")
            @example("GET", "/projects", ["%00"], [], {b"host": b""}, b"")
            @example("POST", "/projects", [], [], {}, b'{"name": "\\ud800"}')
            @example("PATCH", "/projects/1", [], [], {b"if-match": b'"\xff"'}, b"{}")
            def send(
                method: str,
                place: str,
                parts: list[str],
                query: list[tuple[str, str]],
                headers: dict[bytes, bytes],
                body: bytes,
            ) -> None:
                path = "/".join([place, *parts]) or "/"
                text = "&".join(f"{name}={value}" for name, value in query)
                target = f"{path}?{text}" if text else path
                names = {**_USUAL, **headers}
                answer = portal.call(client.send, method, target, list(names.items()), body)
                assert answer.status < 500, (method, target, names, body, answer)
                check_answer(answer)

            send()

    async def test_what_is_long_takes_time_by_its_length(self) -> None:
        """Eight times the length takes at most 24 times the CPU; what is squared takes 64."""
        async with self.served() as client:
            await client.create()

            async def cpu(make: Callable[[int], _Long], length: int) -> float:
                method, target, headers, body = make(length)
                found: list[float] = []
                for _ in range(2):
                    before = time.process_time()
                    answer = await client.send(
                        method, target, [*{**_USUAL, **headers}.items()], body
                    )
                    found.append(time.process_time() - before)
                    assert answer.status < 500, (method, target[:60], answer)
                    check_answer(answer)
                return min(found)

            for number, make in enumerate(_LONG):
                short, long = await cpu(make, 2_000), await cpu(make, 16_000)
                assert long <= 24 * max(short, 0.002), (number, short, long)
