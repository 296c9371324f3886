import subprocess
import sys

import pytest

import varco_resilience


def test_all_is_what_the_package_has():
    public = {
        name
        for name in dir(varco_resilience)
        if not name.startswith("_") and name not in {"TYPE_CHECKING", "import_module"}
    }
    assert set(varco_resilience.__all__) == public
    assert list(varco_resilience.__all__) == sorted(varco_resilience.__all__, key=sorting)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'retries'"):
        _ = varco_resilience.retries


def sorting(name):
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def test_every_public_name_has_a_docstring():
    for name in varco_resilience.__all__:
        thing = getattr(varco_resilience, name)
        assert thing.__doc__, name
        if isinstance(thing, type):
            for attribute, value in vars(thing).items():
                if not attribute.startswith("_") and callable(value):
                    assert value.__doc__, f"{name}.{attribute}"


@pytest.mark.parametrize(
    ("use", "unloaded"),
    [
        ("import varco_resilience", "trio email asyncio anyio inspect dataclasses"),
        ("from varco_resilience import *", "trio email anyio._backends._asyncio"),
    ],
)
def test_importing_it_loads_no_more_than_is_used(use, unloaded):
    code = (
        f"import sys; {use};"
        f"print([m for m in sys.modules if m in {unloaded.split()}"
        " or m.startswith('varco_') and not m.startswith('varco_resilience')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
