"""What the package offers, and what importing it costs."""

import subprocess
import sys

import pytest

import varco_otel


def test_all_names_are_there_and_documented():
    assert set(varco_otel.__all__) == set(varco_otel._HOME)
    assert set(varco_otel.__all__) <= set(dir(varco_otel))
    for name in varco_otel.__all__:
        assert getattr(varco_otel, name).__doc__, name
    with pytest.raises(AttributeError, match="Typo"):
        varco_otel.Typo  # noqa: B018  # the access is the test


def test_importing_it_loads_nothing():
    code = (
        "import sys, varco_otel;"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'varco_'))])"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "['varco_otel']"
