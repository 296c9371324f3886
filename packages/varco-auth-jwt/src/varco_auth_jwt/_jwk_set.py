"""Several keys, as RFC 7517 writes them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from varco_auth_jwt._errors import InvalidKeyError
from varco_auth_jwt._jwk import KEY_TYPES, JsonWebKey, key_given

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_log = logging.getLogger("varco_auth_jwt")


@dataclass(frozen=True, slots=True)
class JsonWebKeySet:
    """Keys in the order given; several may bear the same `kid`."""

    keys: tuple[JsonWebKey, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(self.keys))
        for key in cast("tuple[object, ...]", self.keys):
            key_given(key)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read a JWK set.

        Keys of an unknown type are left out, as RFC 7517 says; so are malformed ones, with a
        warning in the log.

        Raises:
            InvalidKeyError: it is no JWK set, or every key of a known type is malformed.
        """
        keys = raw.get("keys") if isinstance(cast("object", raw), Mapping) else None
        if not isinstance(keys, list):
            raise InvalidKeyError("a JWK set needs the member 'keys', a list")
        listed = [key for key in cast("list[object]", keys) if not _is_of_unknown_type(key)]
        read, refused = usable(listed, read_key, "a JWK set")
        if refused and not read:
            raise InvalidKeyError(f"no key of the JWK set can be read: {refused}")
        return cls(tuple(read))

    def to_dict(self, *, include_private: bool = False) -> dict[str, list[dict[str, Any]]]:
        """Write the JWK set; without private parts, and so without symmetric keys, unless asked."""
        keys = self.keys if include_private else self.public_set().keys
        return {"keys": [key.to_dict(include_private=include_private) for key in keys]}

    def find_by_kid(self, kid: str) -> JsonWebKey | None:
        """The first key of that `kid`."""
        return next((key for key in self.keys if key.kid == kid), None)

    def public_set(self) -> JsonWebKeySet:
        """The set to publish: public parts only, symmetric keys left out."""
        return JsonWebKeySet(tuple(key.public_key() for key in self.keys if key.kty != "oct"))


def usable[S, T](
    items: Iterable[S], make: Callable[[S], T], where: str, *, level: int = logging.WARNING
) -> tuple[list[T], InvalidKeyError | None]:
    """What is made of the items that are not refused, and why the first of the others is.

    The others are logged and left out, so that one of them does not spoil a whole set.
    """
    made: list[T] = []
    first: InvalidKeyError | None = None
    for item in items:
        try:
            made.append(make(item))
        except InvalidKeyError as error:
            _log.log(level, "A key of %s is left out: %s", where, error)
            first = first or error
    return made, first


def read_key(raw: object) -> JsonWebKey:
    """A key of a set's list."""
    if not isinstance(raw, dict):
        raise InvalidKeyError(f"a key is no JSON object, but {type(raw).__name__}")
    return JsonWebKey.from_dict(cast("dict[str, Any]", raw))


def _is_of_unknown_type(raw: object) -> bool:
    kty = cast("dict[str, object]", raw).get("kty") if isinstance(raw, dict) else None
    return isinstance(kty, str) and kty not in KEY_TYPES
