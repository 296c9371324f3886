import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run(capsys):
    text = README.read_text("utf-8")
    namespace = {"__name__": "readme"}
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert len(blocks) > 8
    for block in blocks:
        # Lines of errors are those of the README.
        source = "\n" * text[: block.start(1)].count("\n") + block[1]
        exec(compile(source, str(README), "exec"), namespace)
    shown = re.search(r"```text\n(.*?)```", text, re.DOTALL)[1]
    assert capsys.readouterr().out == shown
