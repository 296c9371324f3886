"""What the package offers, and what importing it costs."""

import subprocess
import sys

import varco_beanie


def test_all_is_sorted_complete_and_importable():
    assert isinstance(varco_beanie.__all__, tuple)
    assert list(varco_beanie.__all__) == sorted(varco_beanie.__all__)
    public = {name for name in dir(varco_beanie) if name[0] != "_"} - {"TYPE_CHECKING", "sys"}
    assert set(varco_beanie.__all__) == public


def test_every_public_name_is_documented():
    for name in varco_beanie.__all__:
        assert getattr(varco_beanie, name).__doc__, name


def test_importing_it_loads_nothing_until_a_name_is_touched():
    code = (
        "import sys; before = set(sys.modules); import varco_beanie; "
        "loaded = set(sys.modules) - before; assert loaded == {'varco_beanie'}, loaded; "
        "hasattr(varco_beanie, 'Typo') and exit('a name that is not there')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_python_that_beanie_does_not_know_is_named():
    code = "import sys; sys.version_info = (3, 14, 0); import varco_beanie"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: varco-beanie stands on beanie 2.2" in done.stderr
