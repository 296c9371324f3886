"""Two calls share an entry only if their arguments are equal and of one type, of one function."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import inspect
import itertools
import pathlib
import subprocess
import sys
import types
import uuid
import zoneinfo
from typing import Any, NamedTuple

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_cache import CacheKeyError, InMemoryCache, LayeredCache, cached

pytestmark = pytest.mark.anyio


@cached(InMemoryCache())
async def echo(value):
    return value


class Loose(str):  # noqa: SLOT000 # it has more than its text
    """Has more than its text, and a `repr` that does not tell."""

    def __repr__(self):
        return "'same'"


class Loud(int):
    def __repr__(self):
        return "7"


class Wide(dict):
    def items(self):
        return []


class Sly(list):
    def __eq__(self, other):
        return True

    __hash__ = None


class Pair(NamedTuple):
    left: object
    right: object


@dataclasses.dataclass
class Box:
    content: object
    note: object = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    content: object


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)
    content: object
    _own: int = pydantic.PrivateAttr(0)


class Child(Box):
    pass


class ChildModel(Model):
    pass


class Root(pydantic.RootModel[Any]):
    pass


class Typed[T](pydantic.BaseModel):
    content: T


@pydantic.dataclasses.dataclass
class Checked:
    content: Any


class Tall(tuple):  # noqa: SLOT001 # it may have more than its items
    def __iter__(self):
        return iter([])

    def __len__(self):
        return 0


class Kind(enum.Enum):
    A = 1
    B = "A"


class Word(enum.StrEnum):
    A = "a"


class Number(enum.IntEnum):
    ONE = 1


class Flags(enum.Flag):
    X = 1
    Y = 2
    Z = 4


def twin(name):
    """A class that is called like the one of this module."""
    return type(name, (str,), {"__module__": __name__, "__qualname__": name})


atoms = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(",'=()[]{}ab", max_size=3),
    st.binary(max_size=2), st.complex_numbers(max_magnitude=2), st.decimals(-1, 1, places=1),
    st.dates(dt.date(2020, 1, 1), dt.date(2020, 1, 2)),
    st.datetimes(
        dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, 0, 0, 1),  # noqa: DTZ001 # bounds are naive
        timezones=st.sampled_from([None, dt.UTC, zoneinfo.ZoneInfo("Europe/Rome")]),
    ),
    st.timedeltas(dt.timedelta(0), dt.timedelta(microseconds=2)), st.uuids(version=4),
    st.sampled_from([*Kind, Flags.X | Flags.Y, Flags.Z, int, Kind, Pair, range(2), range(3)]),
    st.builds(Loose, st.text("ab", max_size=2)),
    st.builds(twin("Loose"), st.text("ab", max_size=2)),
    st.builds(pathlib.PurePosixPath, st.sampled_from(["a", "b"])),
)  # fmt: skip


def around(inner):
    some = st.lists(inner, max_size=3)
    keyed = st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    hashable = st.frozensets(st.integers(0, 2) | st.text("ab", max_size=1), max_size=3)
    return st.one_of(
        some, some.map(tuple), hashable, hashable.map(set), keyed,
        keyed.map(lambda d: collections.OrderedDict(reversed(d.items()))),
        keyed.map(Wide), keyed.map(lambda d: collections.defaultdict(list, d)),
        some.map(Sly), some.map(collections.deque), keyed.map(types.MappingProxyType),
        st.builds(Pair, inner, inner), st.builds(Box, inner), st.builds(Slotted, inner),
        st.builds(Model, content=inner),
        st.builds(lambda a, b: Model(content=a, more=b), inner, inner),
    )  # fmt: skip


values = st.recursive(atoms, around, max_leaves=5)


def same(one, other):
    """Equal and of one type, all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, set | frozenset):
        return collections.Counter(map(type, one)) == collections.Counter(map(type, other))
    if isinstance(one, Tall):
        return all(map(same, tuple.__iter__(one), tuple.__iter__(other)))
    if isinstance(one, dict):
        # Equal keys of two types are not the same key.
        return {type(k) for k in one} == {type(k) for k in other} and all(
            same(one[key], other[key]) for key in one
        )
    if isinstance(one, list | tuple | collections.deque):
        return all(map(same, one, other))
    if isinstance(one, pydantic.BaseModel):
        held = one.__dict__ | (one.__pydantic_extra__ or {})
        return same(held, other.__dict__ | (other.__pydantic_extra__ or {}))
    if isinstance(one, Box | Slotted | Checked):
        return same(one.content, other.content)
    return True


@given(values, values)
def test_unequal_arguments_never_share_a_key(one, other):
    try:
        keys = echo.key_for(one), echo.key_for(other)
    except CacheKeyError:
        return
    if keys[0] == keys[1]:
        assert same(one, other), keys


NAIVE = dt.datetime(2020, 1, 1)  # noqa: DTZ001 # there are such
ALIKE = [
    1, True, 1.0, decimal.Decimal(1), decimal.Decimal("1.0"), 1 + 0j, "1", b"1", Loose("1"),
    Loud(1), Number.ONE, Flags.X, Kind.A, 7, "a", b"a", "'a'", Word.A, Kind.B, Loose("a"),
    twin("Loose")("a"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), None, "None",
    0.0, -0.0, False, "", (), [], {}, frozenset(), dt.date(2020, 1, 1), NAIVE, dt.time(1),
    dt.timedelta(1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2020, 1, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Rome")), uuid.UUID(int=1),
    range(1), range(0, 1, 2), int, str, Loose, twin("Loose"),
]  # fmt: skip
AROUND = [
    lambda v: [v], lambda v: (v,), lambda v: collections.deque([v]), lambda v: {v},
    lambda v: Tall((v,)), lambda v: frozenset({v}), lambda v: {v: 1}, lambda v: {"k": v},
    lambda v: Wide(k=v), lambda v: {1: v}, lambda v: {True: v},
    lambda v: collections.OrderedDict(k=v), lambda v: collections.Counter({v: 1}),
    lambda v: collections.defaultdict(list, k=v), lambda v: Pair(v, 1), lambda v: Pair(1, v), Box,
    Child, Slotted, Checked, Root, lambda v: Model(content=v), lambda v: ChildModel(content=v),
    lambda v: Model(content=1, more=v), lambda v: Typed[Any](content=v),
    lambda v: Typed[object](content=v),
]  # fmt: skip


def built(values):
    """Each of the values in each of the shapes that can hold it."""
    for value in values:
        for make in AROUND:
            try:
                yield make(value)
            except TypeError:  # it cannot be hashed
                continue


def test_what_looks_alike_never_shares_a_key():
    """All values and all shapes against each other, which chance rarely brings together."""
    once = list(built(ALIKE))
    known = {}
    for value in (*ALIKE, *once, *built(once)):
        assert same(known.setdefault(echo.key_for(value), value), value)
    assert len(known) > len(AROUND) ** 2 * len(ALIKE) / 2


class Anything:
    """Takes what a call may have, so that its parts could run into each other."""

    @staticmethod
    @cached(InMemoryCache())
    async def call(first, /, second=None, *more, last=None, **named): ...


FEW = [1, 11, True, 1.0, "1", "1,1", (1,), (1, 1), None]


def calls():
    for args in itertools.chain(*(itertools.product(FEW, repeat=n) for n in (1, 2, 3))):
        yield args, {}
        for name in ("first", "last", "other", *(["second"] if len(args) == 1 else [])):
            yield from ((args, {name: value}) for value in FEW)


def test_calls_share_a_key_only_with_the_same_arguments_in_the_same_places():
    def bound(args, named):
        binding = inspect.signature(Anything.call).bind(*args, **named)
        binding.apply_defaults()
        return dict(binding.arguments)

    known = {}
    for call in calls():
        args, named = call
        first = known.setdefault(Anything.call.key_for(*args, **named), call)
        if first is not call:
            assert same(bound(*first), bound(*call))


@given(values)
def test_the_same_argument_has_the_same_key_again(value):
    try:
        key = echo.key_for(value)
    except CacheKeyError:
        return
    assert echo.key_for(value) == key


def patched_equality():
    @dataclasses.dataclass
    class Ever:
        content: object

        def __eq__(self, other):
            return True

        __hash__ = None

    return Ever(1)


class Opaque:
    pass


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), complex(0, float("nan")), decimal.Decimal("nan"), [float("nan")],
        Sly([1]), patched_equality(), types.MappingProxyType({}), Opaque(),
        collections.UserDict(a=1), dataclasses.make_dataclass("Same", ["x"], eq=False)(1), iter([]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_has_no_text_is_refused_with_the_way_out(value):
    with pytest.raises(CacheKeyError, match="key="):
        echo.key_for(value)


def test_an_integer_of_any_length_has_a_text():
    long = 10**5000
    keys = {echo.key_for(one) for one in (long, long + 1, -long, [long], [long + 1], Loud(long))}
    assert len(keys) == 6
    assert echo.key_for(long) == echo.key_for(10**5000)


async def test_a_function_that_became_a_method_late_tells_its_owners_apart():
    class Late:
        pass

    async def find(this):
        return this

    Late.find = cached(InMemoryCache())(find)
    one, two = Late(), Late()
    assert [await one.find(), await two.find(), await one.find()] == [one, two, one]


def test_what_a_user_defined_is_not_asked():
    assert echo.key_for(Loose("a")) != echo.key_for(Loose("b"))
    assert echo.key_for(Wide(a=1)) != echo.key_for(Wide(a=2))
    one, other = Loose("a"), Loose("a")
    one.tenant, other.tenant = "acme", "globex"
    assert echo.key_for(one) != echo.key_for(other)

    class Claims:
        __class__ = property(lambda self: str)

        def __repr__(self):
            return "'a'"

    with pytest.raises(CacheKeyError):
        echo.key_for(Claims())


def test_private_and_extra_parts_tell_models_apart():
    one, other = Model(content=1), Model(content=1)
    assert echo.key_for(one) == echo.key_for(other)
    other._own = 2
    assert echo.key_for(one) != echo.key_for(other)
    assert echo.key_for(one) != echo.key_for(Model(content=1, more=2))


def test_classes_of_one_name_are_apart():
    one, other = twin("Twin"), twin("Twin")
    assert echo.key_for(one) != echo.key_for(other)
    assert echo.key_for(one("a")) != echo.key_for(other("a"))
    assert echo.key_for(one("a")) == echo.key_for(one("a"))


def finder(cache, tenant, **options):
    @cached(cache, namespace="posts", **options)
    async def find(pk):
        return f"{pk} of {tenant}"

    return find


async def test_functions_of_one_def_are_apart():
    cache = InMemoryCache()
    acme, globex = finder(cache, "acme"), finder(cache, "globex")
    assert [await acme(1), await globex(1), await acme(1)] == [
        "1 of acme",
        "1 of globex",
        "1 of acme",
    ]
    await acme.invalidate_all()
    assert not await cache.exists(acme.key_for(1))
    assert await cache.exists(globex.key_for(1))


async def test_functions_that_follow_each_other_under_one_name_are_apart():
    """In a loop, or when a notebook's cell is run again."""
    cache, found = InMemoryCache(), []
    for number in range(3):
        namespace = {"number": number, "__name__": "looping"}
        exec("async def get(): return number", namespace)
        found.append(await cached(cache)(namespace.pop("get"))())
    assert found == [0, 1, 2]


def test_a_module_that_is_run_again_keeps_its_names_in_a_shared_cache():
    keys = []
    for line in range(2):
        namespace = {"cached": cached, "cache": Shared(), "__name__": "again"}
        exec("\n" * line + "@cached(cache)\nasync def get(): return 1", namespace)
        keys.append(namespace["get"].key_for())
    assert keys == ["again.get:", "again.get:"]
    twice = "\n@cached(cache)\nasync def _(): return 1" * 2
    with pytest.raises(CacheKeyError, match="pass name="):
        exec(twice, {"cached": cached, "cache": Shared(), "__name__": "twice"})
    loop = "for n in (1, 2):\n    @cached(cache)\n    async def get(): return n"
    with pytest.raises(CacheKeyError, match="pass name="):
        exec(loop, {"cached": cached, "cache": Shared(), "__name__": "loop"})


async def test_partial_applications_are_apart_and_one_of_them_is_itself():
    async def add(one, other=10):
        """Docs."""
        return one + other

    cache = InMemoryCache()
    two, three = functools.partial(add, 2), functools.partial(add, other=3)
    cached_two, again, cached_three = (cached(cache)(func) for func in (two, two, three))
    assert [await cached_two(), await again(5), await cached_three(2)] == [12, 7, 5]
    assert cached_two.key_for() == again.key_for()
    assert (cached_two.__name__, cached_two.__doc__) == ("add", "Docs.")


@pytest.mark.parametrize("chosen", [False, True], ids=["fixed", "factory"])
async def test_owners_are_apart_however_equal_they_are(chosen):
    store = InMemoryCache()

    class Repository:
        _cache = store

        def __init__(self, name):
            self.name = name

        @cached((lambda self: self._cache) if chosen else store, namespace="repo")
        async def find(this, pk):  # noqa: N805 # whatever it is called
            return type(this).__name__, this.name, pk

        @cached(store)
        @classmethod
        async def kind(cls):
            return cls

        def __eq__(self, other):
            return True

        def __hash__(self):
            return 1

    def keyed(name):
        return type(name, (Repository,), {"__cache_key__": lambda self: self.name})

    users, invoices, other = (keyed(name) for name in ("Users", "Invoices", "Users"))
    for make in (Repository, users, invoices, other):
        one, two = make("one"), make("two")
        expected = [(make.__name__, name, 1) for name in ("one", "two")]
        assert [await one.find(1), await two.find(1)] == expected
        assert await make.find(one, 1) == expected[0]
        assert await make.kind() is make
    assert users("one").find.key_for(1) == users("one").find.key_for(1)


class Shared(InMemoryCache):
    """As if other processes saw it."""

    shared = True
    local = False


class Keyless:
    def __init__(self, cache):
        self.cache = cache

    @cached(lambda self: self.cache)
    async def find(self, pk):
        return pk


class Keyed(Keyless):
    def __cache_key__(self):
        return "the only one"


@pytest.mark.parametrize("make", [Shared, lambda: LayeredCache(InMemoryCache(), Shared())])
async def test_in_a_shared_cache_a_stable_name_is_given_or_refused(make):
    cache = make()
    with pytest.raises(CacheKeyError, match=r"finder.<locals>.find.*pass name="):
        finder(cache, "acme")
    acme = finder(cache, "acme", name="find in acme")
    assert acme.key_for(1) == "posts:find in acme:1"
    assert await acme(1) == "1 of acme"
    assert await finder(cache, "globex", key="globex:{pk}")(1) == "1 of globex"
    with pytest.raises(CacheKeyError, match="__cache_key__"):
        await Keyless(cache).find(1)
    with pytest.raises(CacheKeyError, match="__cache_key__"):
        await cached(cache)(Keyless.find.__wrapped__)(Keyless(cache), 1)
    assert await Keyed(cache).find(1) == 1


APP = """
from varco_cache import InMemoryCache, cached
cache = InMemoryCache()
class Kind(str): ...
@cached(cache)
async def get(value): ...
def make():
    @cached(cache)
    async def get(value): ...
    return get
print(get.key_for(Kind("a")), make().key_for(1), sep="|")
"""


def test_other_processes_give_the_same_names_and_never_the_same_identities(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "-c", "import app"]
    outputs = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        .stdout.strip()
        .split("|")
        for _ in range(2)
    ]
    assert outputs[0][0] == outputs[1][0] == "app.get:app.Kind('a')"
    assert outputs[0][1] != outputs[1][1]


def test_a_key_of_ones_own_must_be_a_text():
    @cached(InMemoryCache(), key=lambda value: value)
    async def get(value):
        return value

    assert get.key_for("a") == "a"
    with pytest.raises(CacheKeyError, match="must be a str, not 'int'"):
        get.key_for(1)
    assert echo.key_for(uuid.UUID(int=1)) != echo.key_for(1)
