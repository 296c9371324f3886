"""How values look on a page."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates; every value is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=PackageLoader("varco_console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        ago=ago,
        duration=duration,
        number=number,
        rate=rate,
        short=short,
        span=span,
        stamp=stamp,
        urlencode=query,
        words=words,
    )
    return made


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page."""
    return environment().get_template(template).render(context)


def query(fields: Mapping[str, object]) -> str:
    """A query string; what is half of a character is a question mark in it."""
    return urlencode(fields, errors="replace")


def number(value: int) -> str:
    """12,345."""
    return f"{value:,}"


def duration(seconds: float) -> str:
    """The time in its largest unit: 3 min, 2 h, 5 d."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR} h"
    return f"{whole // _DAY} d"


def span(seconds: float) -> str:
    """As `duration`, and below a second: 40 ms."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)


def rate(per_second: float) -> str:
    """How many a second, or a minute: 12/s, 1.5/s, 3/min."""
    per_minute = per_second * 60
    if not round(per_minute):
        return "0/s"
    if abs(per_second) < 1:
        return f"{per_minute:.0f}/min"
    return f"{per_second:,.1f}/s" if abs(per_second) < 10 else f"{per_second:,.0f}/s"  # noqa: PLR2004  # two digits say enough


def ago(moment: datetime) -> Markup:
    """How long ago something was, with the moment itself for machines and on hovering."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    text = f"{duration(seconds)} ago" if seconds >= 1 else "just now"
    if seconds < -1:
        text = f"in {duration(-seconds)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), stamp(moment), text
    )


def stamp(moment: datetime) -> str:
    """The moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def short(name: str) -> str:
    """The last two parts of a dotted name: Mailer.send."""
    return ".".join(name.rsplit(".", 2)[-2:])


def words(name: str) -> str:
    """A name with underscores as words."""
    return name.replace("_", " ")
