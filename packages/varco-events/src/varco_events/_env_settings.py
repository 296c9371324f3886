"""Settings of a backend: read from variables of the environment, and silent about secrets."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECRET = "***"  # noqa: S105  # what stands for one
# Up to the last @, for a password that should have been percent-encoded.
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):.*@", re.DOTALL)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_AMOUNT = "must be above zero, a plain number (of a timedelta, its total_seconds())"
# More than a server can count.
_TOO_MUCH = 2**63


class EnvSettings:
    """The base of the settings of a backend, which are frozen dataclasses.

    Their `repr` shows what is not default, and no secret.

    Attributes:
        env_prefix: What the names of their variables begin with.
        secrets: The names of those that are never shown.
        urls: The names of URLs, which are shown without their passwords.
        config_error: Raised with the name, the value and the remedy of what makes no sense.
    """

    __slots__ = ()

    env_prefix: ClassVar[str]
    secrets: ClassVar[frozenset[str]] = frozenset()
    urls: ClassVar[frozenset[str]] = frozenset({"url"})
    config_error: ClassVar[type[Exception]] = ValueError

    def __repr__(self) -> str:
        shown: list[str] = []
        for one in _fields(type(self)):
            value = getattr(self, one.name)
            if value == one.default:
                continue
            if one.name in self.secrets:
                value = _SECRET
            elif one.name in self.urls:
                value = mask_url(value)
            shown.append(f"{one.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def check_above_zero(self, *names: str) -> None:
        """Refuse those of these settings that are no amounts; None is one that is not set."""
        for name in names:
            value = getattr(self, name)
            if value is not None and not _is_amount(value):
                raise self.config_error(name, value, _AMOUNT)

    @classmethod
    def from_env(cls, prefix: str | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from variables such as `VARCO_REDIS_URL`; what is not there is default.

        Args:
            prefix: What their names begin with; `env_prefix` when None.
            environ: The variables; those of the process when None.

        Raises:
            config_error: A variable is there but is no such value; secrets are not shown.
        """
        prefix = cls.env_prefix if prefix is None else prefix
        environ = os.environ if environ is None else environ
        hints = get_type_hints(cls)
        found: dict[str, Any] = {}
        for one in _fields(cls):
            for key in (one.name, *cls.names_before(one.name)):
                name = prefix + key.upper()
                text = environ.get(name)
                if text:
                    try:
                        found[key] = _reader(hints[one.name])(text)
                    except ValueError as error:
                        raise cls.config_error(name, text, str(error)) from None
                    break
        return cls(**found)

    @classmethod
    def of_part(cls, part: str) -> Self:
        """Settings of one part, as "BUS": its own variables go before the shared ones."""
        shared = cls.env_prefix
        own = f"{shared}{part}_"
        special = {
            shared + name.removeprefix(own): value
            for name, value in os.environ.items()
            if name.startswith(own)
        }
        return cls.from_env(shared, {**os.environ, **special})

    @classmethod
    def names_before(cls, name: str) -> list[str]:  # noqa: ARG003  # for those with a past
        """What a setting was called in earlier versions."""
        return []


def _fields(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def mask_url(url: str) -> str:
    """The URL without its password and query, for errors and logs."""
    return _PASSWORD.sub(rf"\1:{_SECRET}@", url).partition("?")[0]


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < _TOO_MUCH


def _reader(hint: Any) -> Callable[[str], Any]:
    kinds = {hint, *get_args(hint)}
    if bool in kinds:
        return _boolean
    for kind in (int, float):
        if kind in kinds:
            return kind
    if getattr(hint, "__origin__", None) is tuple:
        return _words
    return str


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"one of {', '.join(sorted(_TRUE | _FALSE))}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
