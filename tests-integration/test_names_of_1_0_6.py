"""Import statements that were written for varco-core 1.0.6."""

import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

NAMES = json.loads(
    (Path(__file__).parents[1] / "scripts" / "names_of_1_0_6.json").read_text(encoding="utf-8")
)


def test_every_import_works_or_says_what_to_use():
    answered: list[str] = []
    for entry in NAMES:
        module, name = entry["module"], entry["name"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                exec(f"from {module} import {name}", {})
            except ImportError as error:
                told = str(error)
            else:
                continue
            answered.append(name)
            assert told.startswith(f"{module}.{name} is no more: ")
            with pytest.raises(AttributeError, match=f"{name} is no more: "):
                getattr(importlib.import_module(module), name)
            with pytest.raises(ImportError, match=f"{name} is no more: "):
                exec(f"from varco_core import {name}", {})
    assert len(NAMES) == 249
    assert "ASTQueryOptimizer" in answered
    assert len(answered) < 30


def test_a_renamed_class_warns_once():
    code = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    for _ in range(2):\n"
        "        from varco_core.exception import QueryException\n"
        "from varco_query import QueryError\n"
        "assert QueryException is QueryError\n"
        "assert [str(each.message) for each in told] == "
        "['varco_core.exception.QueryException is varco_query.QueryError'], told\n"
        "assert told[0].filename == '<string>', told[0].filename\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("first", ["varco_core.resilience.retry", "varco_core.resilience"])
def test_a_module_does_not_hide_the_function_that_it_is_called_like(first):
    code = (
        f"import {first}\n"
        "from varco_core.resilience import retry, timeout\n"
        "from varco_core.resilience.retry import RetryPolicy, retry as by_path\n"
        "import varco_resilience as home\n"
        "assert retry is by_path is home.retry, retry\n"
        "assert timeout is home.timeout\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
