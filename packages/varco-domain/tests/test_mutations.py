"""A part of the mutations by default, all of them with ``HYPOTHESIS_PROFILE=deep``."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

DEEP = settings.get_profile(settings._current_profile).max_examples > 10_000


@pytest.mark.timeout(3600 if DEEP else 300)
def test_leaving_out_any_scoping_line_is_noticed():
    script = Path(__file__).with_name("mutations.py")
    command = [sys.executable, str(script), *(() if DEEP else ("--core", "--every", "100"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr
