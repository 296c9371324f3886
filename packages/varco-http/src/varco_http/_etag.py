"""Entity tags (RFC 9110, section 8.8.3): made of key and version, read, compared."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import quote

from varco_http._errors import Fault, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_BLANK: Final = re.compile(r"[ \t]*")
_BETWEEN: Final = re.compile(r"[ \t]*(?:,[ \t]*)+")
_SAFE: Final = "!$&'()*+:;=@/"


class EntityTag(NamedTuple):
    """One tag, without its quotes."""

    tag: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.tag}"'


@dataclass(frozen=True, slots=True)
class EntityTags:
    """What `If-Match` or `If-None-Match` lists: some tags, or any (`*`)."""

    tags: tuple[EntityTag, ...] = ()
    any: bool = False

    def match_strongly(self, tag: str) -> bool:
        """Tell whether a strong tag is meant, as `If-Match` compares."""
        return self.any or EntityTag(tag) in self.tags

    def match_weakly(self, tag: str) -> bool:
        """Tell whether a tag is meant, weak or not, as `If-None-Match` compares."""
        return self.any or any(each.tag == tag for each in self.tags)


def entity_tag(pk: object, version: int) -> str:
    """The tag, without its quotes, of a version of the row with a key.

    It is never a hash of a body: whoever knows it knows which version to expect.
    """
    if pk.__class__ is int:
        return f"{pk}.{version}"
    parts = cast("Iterable[object]", pk) if isinstance(pk, tuple) else (pk,)
    return f"{','.join(quote(str(part), safe=_SAFE) for part in parts)}.{version}"


def version_of(tag: str, pk: object) -> int | None:
    """The version in a tag that `entity_tag` made for this key; of others, None."""
    text = tag.rpartition(".")[2]
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 - 64 bits
        return None
    version = int(text)
    return version if entity_tag(pk, version) == tag else None


def parse_entity_tags(text: str, header: str = "If-Match") -> EntityTags:
    """What a header lists, in time that grows as the text does.

    Args:
        text: The value of the header; what was sent in several lines joined by commas.
        header: Its name, for the error.

    Raises:
        InvalidRequestError: It is neither `*` nor a list of tags.
    """
    if text.strip(" \t") == "*":
        return EntityTags(any=True)
    # Elements of a list may be empty (RFC 9110, section 5.6.1).
    end = len(text.rstrip(" \t,"))
    tags: list[EntityTag] = []
    between = _BETWEEN.match(text) or _BLANK.match(text)
    position = 0
    while between is not None:
        found = _TAG.match(text, between.end())
        if found is None:
            break
        tags.append(EntityTag(found[2], weak=found[1] is not None))
        position = found.end()
        if position >= end:
            return EntityTags(tuple(tags))
        between = _BETWEEN.match(text, position)
    raise _invalid(header)


def _invalid(header: str) -> InvalidRequestError:
    message = f'{header} is neither * nor a list of entity tags such as "7.3"'
    return InvalidRequestError(message, errors=[Fault(message, header=header)])
