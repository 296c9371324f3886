"""``python -m varco_domain.dto``: DTO classes written from models."""

import sys
from pathlib import Path

import pytest

from varco_domain.dto.__main__ import main

HERE = Path(__file__).parent
OPTIONS = ("--exclude", "Product.cost", "--include", "expected_version")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.chdir(HERE)


def test_what_type_checkers_see_is_what_is_written(capsys: pytest.CaptureFixture[str]):
    # typing_dtos.py is checked by mypy and pyright, ruff's formatter among them.
    command = ["typing_models", "--write", "typing_dtos.py", *OPTIONS, "--line-length", "100"]
    assert main([*command, "--check"]) == 0, capsys.readouterr().err


def test_a_file_that_is_not_up_to_date_is_told_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "dtos.py"
    command = ["typing_models", "--write", str(target)]
    assert main([*command, "--check"]) == 1
    assert not target.exists()
    assert main(command) == 0
    assert main([*command, "--check"]) == 0
    assert main([*command, "--exclude", "taken", "--check"]) == 1
    told = capsys.readouterr().err
    assert "-    taken: bool" in told
    assert f"run: python -m varco_domain.dto typing_models --write {target}" in told
    assert main([*command, "--exclude", "taken"]) == 0
    assert "taken" not in target.read_text().partition('"""\n')[2].replace('"taken"', "")


def test_the_text_is_printed_without_a_file(capsys: pytest.CaptureFixture[str]):
    assert main(["typing_models", "--include", "Seat.taken", "--include", "op"]) == 0
    text = capsys.readouterr().out
    assert text.startswith('"""The DTOs of typing_models')
    assert "op: UpdateOperation = UpdateOperation.REPLACE" in text
    compile(text, "dtos.py", "exec")


def test_other_files_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "mine.py"
    target.write_text("MINE = 1\n")
    assert main(["typing_models", "--write", str(target)]) == 2
    assert target.read_text() == "MINE = 1\n"
    assert "move it away first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no_such_module"], "No module named 'no_such_module'"),
        (["varco_domain.meta"], "defines no model"),
        (["typing_models", "--exclude", "Product.pice"], "did you mean 'price'?"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_old_classes_that_the_models_module_brings_along_do_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "old_shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text(
        "from varco_domain import CreateDTO, DomainModel\n"
        "class Thing(DomainModel):\n    name: str\n    size: int\n"
        "import old_shop.dtos\n"
    )
    (package / "dtos.py").write_text(
        '"""python -m varco_domain.dto"""\n'
        "from varco_domain import CreateDTO\nfrom old_shop.models import Thing\n"
        "class NewThing(CreateDTO, model=Thing):\n    name: str\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["old_shop.models", "--write", str(package / "dtos.py")]) == 0
    assert "    size: int\n" in (package / "dtos.py").read_text()
    for name in [name for name in sys.modules if name.startswith("old_shop")]:
        monkeypatch.delitem(sys.modules, name)
