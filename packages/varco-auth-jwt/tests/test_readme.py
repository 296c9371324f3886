"""Every Python block of the README runs, in order and in one namespace."""

import ast
import asyncio
import inspect
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_runs():
    pytest.importorskip("varco_domain.auth")
    namespace = {"__name__": "readme"}

    async def run():
        for match in re.finditer(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(match[1], str(README), "exec", flags=flags)
            result = eval(code, namespace)
            if inspect.isawaitable(result):
                await result

    asyncio.run(run())
    assert len(namespace) > 20
