"""What the package offers, and what importing it costs."""

import subprocess
import sys

import varco_kafka


def test_all_is_sorted_complete_and_importable():
    assert isinstance(varco_kafka.__all__, tuple)
    assert list(varco_kafka.__all__) == sorted(varco_kafka.__all__)
    assert all(getattr(varco_kafka, name).__doc__ for name in varco_kafka.__all__)
    public = {name for name in dir(varco_kafka) if name[0] != "_"} - {"TYPE_CHECKING"}
    assert set(varco_kafka.__all__) == public
    assert varco_kafka.KafkaDLQ is varco_kafka.KafkaDeadLetterQueue


def test_errors_can_be_mapped():
    for name in varco_kafka.__all__:
        error = getattr(varco_kafka, name)
        if isinstance(error, type) and issubclass(error, Exception):
            assert error.code.startswith("kafka."), name
            assert isinstance(error.http_status, int), name


def test_importing_it_loads_nothing_until_a_name_is_touched():
    code = (
        "import sys; before = set(sys.modules); import varco_kafka; "
        "loaded = set(sys.modules) - before; assert loaded == {'varco_kafka'}, loaded; "
        "assert varco_kafka.KafkaConfigError.__name__ in dir(varco_kafka); "
        "loaded = {'varco_kafka._bus', 'pydantic'} & set(sys.modules); assert not loaded, loaded; "
        "hasattr(varco_kafka, 'Typo') and exit('a name that is not there')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
