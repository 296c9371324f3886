"""Finds the key of a token by what the verifier knows, and checks the signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from joserfc.errors import JoseError

from varco_auth_jwt._algorithms import ALGORITHMS
from varco_auth_jwt._codec import b64decode, json_object
from varco_auth_jwt._errors import (
    AlgorithmRefusedError,
    SignatureInvalidError,
    TokenBuildError,
    TokenHeaderError,
    TokenMalformedError,
    TokenTooLargeError,
    UnknownKidError,
    shown,
)
from varco_auth_jwt._jwk import refuse_pickling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from joserfc.jwa import JWSAlgModel
    from joserfc.jwk import Key

    from varco_auth_jwt._prepare import PreparedKey

MAX_SIZE: Final = 16 * 1024
_MAX_HEADER: Final = 4 * 1024
_MAX_REMEMBERED: Final = 128
# Tokens come again with every request of a session; a longer one is checked each time.
_MAX_GOOD: Final = 1_024
_LONGEST_GOOD: Final = 4 * 1024


class Compact(NamedTuple):
    """A compact serialization in its three parts, still encoded."""

    header: bytes
    payload: bytes
    signature: bytes
    signing_input: bytes


def checked_size(max_size: int) -> int:
    """How long a token may be; TokenBuildError if that is no whole number above zero."""
    if type(max_size) is not int or max_size < 1:
        raise TokenBuildError(f"max_size must be a whole number above 0, not {shown(max_size)}")
    return max_size


def ascii_token(token: object, max_size: int) -> bytes:
    """The token as bytes; its size is looked at before anything else."""
    if not isinstance(token, str | bytes):
        raise TokenMalformedError(f"a token is text, not {type(token).__name__}")
    if len(token) > max_size:
        raise TokenTooLargeError(f"the token has {len(token)} characters; {max_size} are read")
    if isinstance(token, bytes):
        return token
    if not token.isascii():
        raise TokenMalformedError("the token holds characters that no token has")
    return token.encode()


def split_compact(raw: bytes) -> Compact:
    """Take a compact JWS apart."""
    parts = raw.split(b".", 3)
    if len(parts) != 3 or not parts[0] or not parts[1]:  # noqa: PLR2004  # header, payload, signature
        raise TokenMalformedError("the token is not header.payload.signature")
    header, payload, signature = parts
    return Compact(header, payload, signature, raw[: -len(signature) - 1])


def decode_part(part: bytes, what: str) -> dict[str, Any]:
    """Read a header or a payload."""
    try:
        return json_object(b64decode(part))
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)[:80]
        raise TokenMalformedError(f"the token's {what} is no JSON object: {reason}") from None


def type_in(header: dict[str, Any]) -> str | None:
    """A header's `typ`."""
    typ = header.get("typ")
    if not isinstance(typ, str | None):
        raise TokenHeaderError("the header's 'typ' must be a string")
    return typ


class Opener(NamedTuple):
    """What the header of a token comes to: who checks the signature, and the token's type."""

    model: JWSAlgModel
    key: Key
    typ: str | None


class KeyRing:
    """Prepared keys, immutable; safe to share between threads and tasks.

    The algorithm and the kind of key are those of the prepared key, never those of the token.
    """

    def __init__(self, keys: Iterable[PreparedKey]) -> None:
        self._keys = tuple(keys)
        self._kids = frozenset(key.kid for key in self._keys if key.kid is not None)
        # What a header comes to, kept only once a signature under it was good, so that strangers
        # cannot fill it. Single dict operations: atomic, and a lost entry costs one look-up.
        self._known: dict[bytes, Opener] = {}
        # Tokens whose signature was good, by their exact bytes, and their `typ`. That holds as long
        # as the keys do, which are this ring's: who rotates or retires a key makes another ring.
        # Nothing else about a token is remembered. Replaced as a whole when it is full.
        self._good: dict[bytes, str | None] = {}

    @property
    def kids(self) -> frozenset[str]:
        """The named keys."""
        return self._kids

    def check(self, token: Compact) -> str | None:
        """Check the signature and return the token's `typ`.

        Raises:
            TokenError: there is no such key, or the signature is not its.
        """
        good = self._good
        whole = token.signing_input + b"." + token.signature
        if whole in good:
            return good[whole]
        opener = self._known.get(token.header)
        fresh = opener is None
        if opener is None:
            opener = self.opener(token.header)
        try:
            holds = opener.model.verify(token.signing_input, b64decode(token.signature), opener.key)
        except (ValueError, TypeError, JoseError):
            holds = False
        if not holds:
            raise SignatureInvalidError("the signature is not that of the key")
        if fresh and len(self._known) < _MAX_REMEMBERED:
            self._known[token.header] = opener
        if len(whole) <= _LONGEST_GOOD:
            if len(good) >= _MAX_GOOD:
                self._good = good = {}
            good[whole] = opener.typ
        return opener.typ

    def opener(self, header_part: bytes) -> Opener:
        """Choose the key for a header."""
        if len(header_part) > _MAX_HEADER:
            raise TokenTooLargeError(f"the header is longer than {_MAX_HEADER} characters")
        header = decode_part(header_part, "header")
        for name in ("crit", "b64", "zip"):
            if name in header:
                raise TokenHeaderError(f"the header has {name!r}, which no verifier here obeys")
        typ = type_in(header)
        alg, kid = header.get("alg"), header.get("kid")
        if not isinstance(kid, str | None):
            raise TokenHeaderError("the header's 'kid' must be a string")
        if not isinstance(alg, str) or alg not in ALGORITHMS:
            raise AlgorithmRefusedError(f"{shown(alg)} is no algorithm that any verifier takes")
        model, key = self._choose(alg, kid)
        return Opener(model, key, typ)

    def _choose(self, alg: str, kid: str | None) -> tuple[JWSAlgModel, Key]:
        named = [key for key in self._keys if kid is None or key.kid == kid]
        if not self._kids:
            # Keys without names answer to every name, as a single shared secret must.
            named = list(self._keys)
        # Said before the algorithm is looked at: a key that is new may come with another one.
        if not named:
            raise UnknownKidError(f"there is no key {shown(kid)}", kid=kid)
        fitting = [key for key in named if alg in key.algorithms]
        if not fitting:
            allowed = ", ".join(sorted({name for key in named for name in key.algorithms}))
            raise AlgorithmRefusedError(f"the token's algorithm is {alg}; its key is for {allowed}")
        # A key that is listed twice is one.
        if len(fitting) > 1 and len({key.algorithms[alg][1].thumbprint() for key in fitting}) > 1:
            raise TokenHeaderError(
                f"{len(fitting)} keys fit the header, which names {shown(kid)}: the issuer must"
                " give each key a name of its own ('kid')"
            )
        return fitting[0].algorithms[alg]

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self)
