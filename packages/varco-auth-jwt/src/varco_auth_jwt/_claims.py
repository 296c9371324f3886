"""What a verifier demands of claims, once the signature is known to be good."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

from varco_auth_jwt._errors import (
    AudienceRefusedError,
    ClaimInvalidError,
    ClaimMissingError,
    IssuerRefusedError,
    TokenBuildError,
    TokenExpiredError,
    TokenNotYetValidError,
    TokenTooOldError,
    TokenTypeError,
    shown,
)

type Clock = Callable[[], float]
type Duration = float | timedelta

# The last second of the year 9999, where datetime ends.
LAST_DATE: Final = 253_402_300_799
ACCESS_TYPES: Final = frozenset({"access", "at+jwt"})
REFRESH_TYPES: Final = frozenset({"refresh", "rt+jwt"})
_PLAIN: Final = frozenset({None, "jwt"})


def seconds(value: Duration, what: str) -> float:
    """A duration in seconds; TokenBuildError if it is none."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    # Comparisons with NaN are false; and an `int` may be beyond all that a clock reckons with.
    if type(value) not in {int, float} or not abs(value) <= sys.float_info.max:
        raise TokenBuildError(f"{what} must be finite seconds or a timedelta, not {shown(value)}")
    return value


def type_of(typ: str | None) -> str | None:
    """`typ` as it is compared: lower case, without the `application/` that may be omitted."""
    return None if typ is None else typ.lower().removeprefix("application/")


def names_of(value: str | Collection[str], what: str) -> frozenset[str]:
    """One name or several as a set; TokenBuildError if there is none, or an empty one."""
    several = cast("object", [value] if isinstance(value, str) else value)
    names = list(cast("Collection[object]", several)) if isinstance(several, Collection) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise TokenBuildError(f"{what} must be a string, or several, not {shown(value)}")
    return frozenset(cast("list[str]", names))


@dataclass(frozen=True, slots=True)
class ClaimsPolicy:
    """The checks of one verifier; made by `policy_of`."""

    issuers: frozenset[str] | None
    audiences: frozenset[str] | None
    types: frozenset[str | None]
    required: tuple[str, ...]
    leeway: float
    max_age: float | None
    clock: Clock

    def check_type(self, typ: str | None) -> None:
        """Refuse a token whose header says that it is something else."""
        if (kind := type_of(typ)) not in self.types:
            wanted = ", ".join(sorted(name or "none" for name in self.types))
            text = f"the token's typ is {shown(typ)}; this verifier takes {wanted}"
            if kind in REFRESH_TYPES:
                text += f'; where refresh tokens are read, pass token_type="{kind}"'
            raise TokenTypeError(text)

    def check(self, claims: dict[str, Any]) -> None:
        """Refuse claims that are missing, malformed, out of time, or meant for somebody else."""
        get = claims.get
        for name in self.required:
            if get(name) is None:
                raise ClaimMissingError(f"the token has no claim {name!r}", claim=name)
        check_texts(claims)
        self._check_times(claims)
        if self.issuers is not None and get("iss") not in self.issuers:
            raise IssuerRefusedError(
                f"the token was issued by {shown(get('iss'))}, and not by"
                f" {', '.join(sorted(self.issuers))}"
            )
        if self.audiences is not None or "aud" in claims:
            self._check_audience(claims["aud"])

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self.clock()
        exp, nbf, iat = (
            numeric_date(claims, "exp"),
            numeric_date(claims, "nbf"),
            numeric_date(claims, "iat"),
        )
        if exp is not None and now - self.leeway >= exp:
            raise TokenExpiredError(f"the token expired {now - exp:.0f} seconds ago")
        if nbf is not None and nbf > now + self.leeway:
            raise TokenNotYetValidError(f"the token becomes valid in {nbf - now:.0f} seconds")
        if iat is not None and iat > now + self.leeway:
            raise TokenNotYetValidError(
                f"the token says it was issued {iat - now:.0f} seconds from now; if the issuer's"
                " clock is ahead, set leeway"
            )
        if self.max_age is not None and iat is not None and now - iat > self.max_age + self.leeway:
            raise TokenTooOldError(
                f"the token is {now - iat:.0f} seconds old; at most {self.max_age:.0f} are taken"
            )

    def _check_audience(self, aud: str | list[str]) -> None:
        names = [aud] if isinstance(aud, str) else aud
        if self.audiences is None:
            raise AudienceRefusedError(
                f"the token is meant for {shown(aud)}, and this verifier was told no audience"
            )
        if self.audiences.isdisjoint(names):
            raise AudienceRefusedError(
                f"the token is meant for {shown(aud)}, not for {', '.join(sorted(self.audiences))}"
            )


def check_texts(claims: dict[str, Any]) -> None:
    """Refuse registered claims of the wrong kind; the dates are for `numeric_date`."""
    for name in ("iss", "sub", "jti"):
        if type(claims.get(name)) is not str and name in claims:
            raise ClaimInvalidError(f"the claim {name!r} must be a string", claim=name)
    aud = claims.get("aud")
    if type(aud) is str or "aud" not in claims:
        return
    if type(aud) is not list or not all(type(name) is str for name in cast("list[object]", aud)):
        raise ClaimInvalidError(
            "the claim 'aud' must be a string or a list of strings", claim="aud"
        )


def numeric_date(claims: dict[str, Any], name: str) -> float | None:
    """A date of the claims, None if absent; ClaimInvalidError if it is no date."""
    value: object = claims.get(name)
    if type(value) is int or type(value) is float:
        # Comparisons with NaN are false, so that this refuses it as well as infinity.
        if 0 <= value <= LAST_DATE:
            return value
    elif name not in claims:
        return None
    raise ClaimInvalidError(
        f"the claim {name!r} must be a number of seconds since 1970, before the year 10000",
        claim=name,
    )


def policy_of(
    *,
    issuer: str | Collection[str] | None = None,
    audience: str | Collection[str] | None = None,
    leeway: Duration = 0,
    required: Collection[str] = ("exp",),
    max_age: Duration | None = None,
    token_type: str | Collection[str] | None = None,
    clock: Clock = time.time,
) -> ClaimsPolicy:
    """The policy of a verifier's options; see `JwtParser` for what they mean."""
    issuers = None if issuer is None else names_of(issuer, "issuer")
    audiences = None if audience is None else names_of(audience, "audience")
    needed = dict.fromkeys(names_of(required, "required") if required else ())
    if issuers is not None:
        needed["iss"] = None
    if audiences is not None:
        needed["aud"] = None
    if max_age is not None:
        needed["iat"] = None
    slack = seconds(leeway, "leeway")
    oldest = None if max_age is None else seconds(max_age, "max_age")
    if slack < 0 or (oldest is not None and oldest < 0):
        raise TokenBuildError("leeway and max_age must not be negative")
    types = _PLAIN | ACCESS_TYPES
    if token_type is not None:
        types = frozenset(map(type_of, names_of(token_type, "token_type")))
    if "jwt" in types:
        types |= {None}
    return ClaimsPolicy(issuers, audiences, types, tuple(needed), slack, oldest, clock)


class Policies:
    """The policies of one verifier that is told audience and type with each token."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        # Made when first asked for. Single dict operations; losing one costs making it again.
        self._made: dict[object, ClaimsPolicy] = {}

    def of(
        self, audience: str | Collection[str] | None, token_type: str | Collection[str] | None
    ) -> ClaimsPolicy:
        """The policy for this audience and type."""
        key = (_hashable(audience), _hashable(token_type))
        made = self._made.get(key)
        if made is None:
            made = policy_of(**self._options, audience=audience, token_type=token_type)
            if len(self._made) < 64:  # noqa: PLR2004  # callers pass constants; others are not kept
                self._made[key] = made
        return made


def _hashable(value: str | Collection[str] | None) -> object:
    if value is None or isinstance(value, str):
        return value
    return frozenset(names_of(value, "audience or token_type"))
