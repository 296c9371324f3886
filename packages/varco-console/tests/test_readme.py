"""The README, run as it stands."""

import ast
import asyncio
import inspect
import pathlib
import re
import sys
import types


def test_the_readme_runs(monkeypatch):
    text = pathlib.Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    module = types.ModuleType("readme_of_varco_console")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    scope = vars(module)

    async def run():
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            code = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, scope)
            if inspect.isawaitable(result):
                await result

    asyncio.run(run())
