# ruff: noqa: S101, PLR2004 - these are tests; their names say what they show
"""Whatever bytes a client sends."""

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
