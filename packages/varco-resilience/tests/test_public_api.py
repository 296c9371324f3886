import subprocess
import sys

import varco_resilience


def test_all_is_what_the_package_has():
    public = {
        name
        for name, value in vars(varco_resilience).items()
        if not name.startswith("_") and not isinstance(value, type(varco_resilience))
    }
    assert set(varco_resilience.__all__) == public
    assert list(varco_resilience.__all__) == sorted(varco_resilience.__all__, key=sorting)


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


def test_importing_it_loads_neither_an_event_loop_nor_a_sibling():
    code = (
        "import sys, varco_resilience;"
        "print([m for m in sys.modules if m in {'trio', 'email', 'anyio._backends._asyncio'}"
        " or m.startswith('varco_') and not m.startswith('varco_resilience')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
