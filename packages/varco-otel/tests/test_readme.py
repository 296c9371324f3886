"""The README, run as it stands, in a process of its own: it sets the provider of the process."""

import pathlib
import subprocess
import sys

RUN = """
import ast, asyncio, inspect, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
async def run():
    for block in re.findall(r"```python\\n(.*?)```", text, re.DOTALL):
        code = compile(block, sys.argv[1], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, globals())
        if inspect.isawaitable(result):
            await result
asyncio.run(run())
"""


def test_the_readme_runs():
    readme = pathlib.Path(__file__).parents[1] / "README.md"
    command = [sys.executable, "-c", RUN, str(readme)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
