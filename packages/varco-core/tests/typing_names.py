"""What type checkers see through the lazy modules; checked by mypy, never run."""

from typing import assert_type

import varco_core
from varco_core import JwtBuilder, QueryParser
from varco_core.cache import InMemoryCache
from varco_core.query import QueryParams
from varco_query import QueryParser as Original

assert_type(QueryParser(), Original)
assert_type(QueryParser().parse("a = 1"), QueryParams)
assert_type(JwtBuilder(secret="s" * 32).subject("a").build(), str)
assert_type(varco_core.InMemoryCache(), InMemoryCache)

varco_core.Typo  # type: ignore[attr-defined]  # noqa: B018  # a checker must see that it is none
