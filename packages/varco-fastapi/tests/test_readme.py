"""The README and the examples of the specification, run as they stand."""

import ast
import asyncio
import inspect
import pathlib
import re
import types


def test_the_readme_runs():
    text = pathlib.Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    # A module of its own, for the class definitions in it.
    scope = vars(types.ModuleType("readme"))

    async def run():
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            code = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, scope)
            if inspect.isawaitable(result):
                await result

    asyncio.run(run())
