"""Links to other pages (RFC 8288)."""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

# What may stand in a query as it is: none of what ends or separates parameters, or a link.
_QUERY: Final = "-._~:@!$'()*/"


def query_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Parameters as the query of a URL, spaces as `%20`."""
    return "&".join(
        f"{quote(name, safe=_QUERY)}={quote(text, safe=_QUERY)}" for name, text in pairs
    )


def page_link(path: str, query: Sequence[tuple[str, str]], cursor: str | None, rel: str) -> str:
    """One link of a page: the same query, from another cursor or from the beginning.

    Args:
        path: The path as it stands in a URL.
        query: The decoded parameters of this page.
        cursor: Where the other page begins; None for the first.
        rel: The relation, such as `next`.
    """
    pairs = [(name, text) for name, text in query if name != "cursor"]
    if cursor is not None:
        pairs.append(("cursor", cursor))
    text = query_text(pairs)
    return f'<{path}{"?" if text else ""}{text}>; rel="{rel}"'


def page_links(
    path: str,
    query: Sequence[tuple[str, str]],
    *,
    following: str | None = None,
    previous: str | None = None,
    first: bool = False,
) -> str | None:
    """The `Link` header of a page; None when there is no other page.

    Args:
        path: The path as it stands in a URL.
        query: The decoded parameters of this page.
        following: The cursor of the page after it, if there is one.
        previous: The cursor of the page before it, if there is one.
        first: Whether to link the first page.
    """
    links: list[str] = []
    if following is not None:
        links.append(page_link(path, query, following, "next"))
    if previous is not None:
        links.append(page_link(path, query, previous, "prev"))
    if first:
        links.append(page_link(path, query, None, "first"))
    return ", ".join(links) or None
