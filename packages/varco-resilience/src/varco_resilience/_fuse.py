"""Makes one wrapper out of one or several strategies.

Each strategy says as text how it surrounds a call, and the texts are nested into one function. So
a stack of them costs one frame instead of one each, the sync and the async wrapper of a strategy
are one text, and a `Pipeline` cannot mean anything else than the decorators that it is made of.

In a text, `{body}` stands for what is surrounded, which leaves `result`; `await?` for `await` in
async functions and for nothing in others; `@` ends the names that are the strategy's own.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from functools import lru_cache
from textwrap import indent
from typing import TYPE_CHECKING, Any
from zlib import crc32

from varco_resilience._functions import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType

_CALLS = {
    Kind.SYNC: "result = func(*args, **kwargs)",
    Kind.ASYNC: "result = await func(*args, **kwargs)",
    Kind.GENERATOR: "result = yield from func(*args, **kwargs)",
    Kind.ASYNC_GENERATOR: """\
items = func(*args, **kwargs)
try:
    item = await anext(items)
    while True:
        try:
            sent = yield item
        except BaseException as thrown:
            item = await items.athrow(thrown)
        else:
            item = await items.asend(sent)
except StopAsyncIteration:
    pass
finally:
    await items.aclose()""",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """How one strategy surrounds a call: a text, and what the names in it stand for.

    Without `{body}` the text makes the call itself, through what `rest()` gave it.
    """

    text: str
    names: Mapping[str, object]


def fuse(
    layers: list[Layer], func: Callable[..., Any], kind: Kind, label: str
) -> Callable[..., Any]:
    """The function that surrounds `func` with the layers, the first one outermost."""
    names: dict[str, object] = {"func": func}
    body = _CALLS[kind]
    for number, layer in reversed(list(enumerate(layers))):
        text = layer.text.replace("@", str(number))
        body = _surround(text, body)
        names.update((name + str(number), value) for name, value in layer.names.items())
    is_async = kind in {Kind.ASYNC, Kind.ASYNC_GENERATOR}
    head = "async def" if is_async else "def"
    tail = "" if kind is Kind.ASYNC_GENERATOR else "\n    return result"
    text = body.replace("await? ", "await " if is_async else "")
    code = _compiled(f"{head} wrapper(*args, **kwargs):\n{indent(text, '    ')}{tail}\n", label)
    exec(code, names)  # noqa: S102  # the text is made of the constants of this package alone
    return names["wrapper"]  # type: ignore[return-value]  # the text defines it


def _surround(text: str, body: str) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        margin = line.removesuffix("{body}")
        lines.append(line if margin == line else indent(body, margin))
    return "\n".join(lines)


@lru_cache(maxsize=256)
def _compiled(source: str, label: str) -> CodeType:
    filename = f"<varco_resilience {label} {crc32(source.encode()):08x}>"
    # Tracebacks and debuggers show the generated lines.
    linecache.cache[filename] = len(source), None, source.splitlines(keepends=True), filename
    return compile(source, filename, "exec")
