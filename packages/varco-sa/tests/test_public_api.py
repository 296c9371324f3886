"""What the package offers, and what importing it costs."""

import subprocess
import sys

import varco_sa


def test_all_is_sorted_complete_and_importable():
    assert isinstance(varco_sa.__all__, tuple)
    assert list(varco_sa.__all__) == sorted(varco_sa.__all__)
    public = {name for name in vars(varco_sa) if name[0] != "_"}
    assert set(varco_sa.__all__) == public


def test_every_public_name_is_documented():
    for name in varco_sa.__all__:
        assert getattr(varco_sa, name).__doc__, name


def test_no_driver_is_loaded_before_it_is_used():
    code = (
        "import sys, varco_sa; "
        "loaded = {'asyncpg', 'asyncmy', 'alembic', 'aiosqlite', 'lark'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
