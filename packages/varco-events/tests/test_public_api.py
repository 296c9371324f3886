"""What the package offers, what importing it costs, and that types are what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import varco_events
import varco_events.testing

PACKAGE = Path(__file__).parents[1]


def natural(name):
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def in_fresh_process(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_all_names_are_there_and_documented():
    assert list(varco_events.__all__) == sorted(set(varco_events.__all__), key=natural)
    assert set(varco_events.__all__) == set(varco_events._HOME)
    assert set(varco_events.__all__) <= set(dir(varco_events))
    for name in varco_events.__all__:
        value = getattr(varco_events, name)
        assert value.__doc__ or name == "EventSerializer", name  # an alias has none
    assert set(varco_events.testing.__all__) == {
        "BusContract",
        "ConservationContract",
        "ConsumerStatesContract",
        "DeadLetterFailuresContract",
        "DeadLetterQueueContract",
        "EventStores",
        "FailureBench",
        "FailureStoreContract",
        "InboxContract",
        "InboxFailuresContract",
        "Life",
        "OutboxContract",
        "OutboxFailuresContract",
    }


def test_type_checkers_see_the_same_names():
    source = (PACKAGE / "src/varco_events/__init__.py").read_text(encoding="utf-8")
    visible = source.split("else:")[0]
    for name in varco_events.__all__:
        assert re.search(rf"\b{name}\b", visible), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Typo"):
        varco_events.Typo  # noqa: B018  # the access is the test


def test_importing_it_loads_nothing():
    loaded = in_fresh_process(
        "import sys, varco_events;"
        "print([m for m in sys.modules if m.split('.')[0] in {'pydantic', 'anyio', 'asyncio',"
        " 'varco_resilience', 'varco_domain', 'providify'} or m.startswith('varco_events.')])"
    )
    assert loaded == "[]"


def test_outbox_entries_need_no_pydantic():
    loaded = in_fresh_process(
        "import sys; from varco_events import OutboxEntry, OutboxRepository, AbstractEventBus;"
        "print('pydantic' in sys.modules)"
    )
    assert loaded == "False"


def test_without_the_extra_the_error_says_what_to_install():
    message = in_fresh_process(
        "import sys; sys.modules['varco_domain'] = None\n"
        "import varco_events\n"
        "try:\n    varco_events.EventServiceMixin\n"
        "except ImportError as error:\n    print(error)"
    )
    assert message == "EventServiceMixin needs varco_domain: pip install 'varco-events[domain]'"


def test_every_error_has_a_code_of_its_own_and_a_status():
    def below(cls):
        return {cls}.union(*map(below, cls.__subclasses__()))

    # A backend that is imported too has errors of its own below.
    errors = [one for one in below(varco_events.EventsError) if "varco_events" in one.__module__]
    codes = [error.code for error in errors]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("events.") for code in codes)
    assert all(400 <= error.http_status < 600 for error in errors)
