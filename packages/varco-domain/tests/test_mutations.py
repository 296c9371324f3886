import subprocess
import sys
from pathlib import Path

import varco_domain


def test_removing_any_scoping_line_makes_the_contract_suite_fail():
    script = Path(__file__).with_name("mutations.py")
    source = Path(varco_domain.__file__).parent
    done = subprocess.run(
        [sys.executable, str(script), str(source)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr
