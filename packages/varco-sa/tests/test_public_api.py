"""What the package offers, and what importing it costs."""

import ast
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

import varco_sa
from varco_domain import DomainModel
from varco_sa import metadata_for


def test_all_is_sorted_complete_and_importable():
    assert isinstance(varco_sa.__all__, tuple)
    assert list(varco_sa.__all__) == sorted(varco_sa.__all__)
    public = {name for name in dir(varco_sa) if name[0] != "_"} - {"TYPE_CHECKING"}
    assert set(varco_sa.__all__) == public


def test_every_public_name_is_documented():
    for name in varco_sa.__all__:
        assert getattr(varco_sa, name).__doc__, name


def test_importing_it_loads_nothing_until_a_name_is_touched():
    code = (
        "import sys; before = set(sys.modules); import varco_sa; "
        "loaded = set(sys.modules) - before; assert loaded == {'varco_sa'}, loaded; "
        "assert varco_sa.CommitUnknownError.__name__ in dir(varco_sa); "
        "loaded = {'varco_sa._bootstrap', 'varco_sa._alembic', 'pydantic'} & set(sys.modules); "
        "assert not loaded, loaded; "
        "hasattr(varco_sa, 'Typo') and exit('a name that is not there')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_driver_or_dialect_is_loaded_before_it_is_used():
    code = (
        "import sys; from varco_sa import bootstrap; "
        "drivers = {'asyncpg', 'asyncmy', 'alembic', 'aiosqlite', 'lark'}; "
        "dialects = {f'sqlalchemy.dialects.{each}' for each in ('postgresql', 'mysql', 'sqlite')}; "
        "loaded = (drivers | dialects) & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ENGINE = re.compile(r"(?:sqlite|postgres(?:ql)?|mysql|mariadb)(?:\+\w+)?(?:://.*)?")


def names_an_engine(node):
    match node:
        case ast.Constant(value=str(text)):
            return ENGINE.fullmatch(text) is not None
        case ast.Attribute(attr="is_mariadb"):
            return True
        case ast.ImportFrom(module="sqlalchemy.dialects"):
            return True
    return False


def test_an_engine_is_named_in_one_place():
    source = Path(varco_sa.__file__).parent
    trees = {each.name: ast.parse(each.read_text()) for each in source.glob("*.py")}
    found = {name for name, tree in trees.items() if any(map(names_an_engine, ast.walk(tree)))}
    assert found == {"_dialects.py"}


def test_a_statement_of_no_engine_can_be_shown():
    class Shown(DomainModel):
        title: str
        price: Decimal | None = None

    (table,) = (each for each in metadata_for(Shown).sorted_tables if "price" in each.c)
    assert "title" in str(sa.select(table).where(table.c.title == "x", table.c.price > 1))
