"""What the package offers, what importing it costs, and what it says without its extra."""

import subprocess
import sys

import pytest

import varco_console
from varco_console import READ_ONLY, Permission


def natural(name):
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def in_fresh_process(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_all_names_are_there_and_documented():
    assert list(varco_console.__all__) == sorted(set(varco_console.__all__), key=natural)
    assert set(varco_console.__all__) == set(varco_console._HOME)
    for name in varco_console.__all__:
        value = getattr(varco_console, name)
        assert value.__doc__ or name in {"AccessOf", "Hides", "Identify", "Path"}, name
    with pytest.raises(AttributeError, match="Typo"):
        varco_console.Typo  # noqa: B018  # the access is the test


def test_importing_it_loads_nothing():
    loaded = in_fresh_process(
        "import sys, varco_console;"
        "print([m for m in sys.modules if m.split('.')[0] in {'starlette', 'jinja2',"
        " 'varco_events', 'varco_domain'} or m.startswith('varco_console.')])"
    )
    assert loaded == "[]"


def test_a_console_needs_no_extra_and_the_audit_says_which_it_needs():
    said = in_fresh_process(
        "import sys; sys.modules['varco_domain'] = sys.modules['varco_query'] = None\n"
        "import varco_console\n"
        "varco_console.Console({})\n"
        "try:\n    varco_console.RepositoryAudit\n"
        "except ImportError as error:\n    print(error)"
    )
    assert said == "RepositoryAudit needs varco-domain: pip install 'varco-console[domain]'"


def test_access_is_that_of_all_roles_of_an_operator():
    class User:
        user_id = "ann"

        def __init__(self, *roles):
            self.roles = roles

    roles = {"looks": READ_ONLY, "retries": {Permission.RETRY}}
    access = varco_console.access_by_role(roles)
    assert access(User("looks", "retries", "another")) == {*READ_ONLY, Permission.RETRY}
    assert access(User("another")) == access(User()) == set()
