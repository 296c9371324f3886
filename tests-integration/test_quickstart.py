"""The quickstart as its user runs it: a process, a database, and what it prints."""

import csv
import importlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICKSTART = [sys.executable, str(ROOT / "scripts" / "quickstart.py")]
DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
LICENSES = ("MIT", "BSD-3-Clause", "Apache-2.0", "MPL-2.0", "unknown")


def ask(folder, *words, code=0):
    done = subprocess.run(
        [*QUICKSTART, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A command without a process, which takes most of the time: its code and what it wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "scripts")
    quickstart = importlib.import_module("quickstart")

    def answer(*words):
        return quickstart.run(words), capsys.readouterr()

    return answer


@pytest.fixture
def here(run):
    """What a refused command writes to stderr."""

    def refused(*words):
        code, written = run(*words)
        assert code == 2
        return written.err

    return refused


def write_table(path, count, seed):
    """A table of `count` packages; another seed gives the same names with other values."""
    chance = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            ("name", "version", "summary", "license", "requirements", "files", "bytes", "newest")
        )
        for number in range(count):
            license_ = chance.choice(LICENSES)
            size = chance.randrange(10**7)
            newest = "2026-01-02T03:04:05Z" if number % 3 else ""
            table.writerow((f"p{number:05}", f"1.{seed}", "a, b", license_, 1, 2, size, newest))


def expected_totals(path):
    totals = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            packages, size = totals.get(row["license"], (0, 0))
            totals[row["license"]] = packages + 1, size + int(row["bytes"])
    return totals


def shown_totals(output):
    lines = output.rpartition("license ")[2].splitlines()[2:]
    found = (line.rsplit(maxsplit=2) for line in lines)
    return {name: (int(n.replace(",", "")), int(s.replace(",", ""))) for name, n, s in found}


def test_it_catalogues_what_is_installed_and_a_second_run_duplicates_nothing(run):
    words = ("name = 'sqlalchemy' OR name = 'pydantic'", "--sort", "-bytes")
    _, first = run(*words)
    assert "sqlalchemy" in first.out
    assert "2 packages, " in first.out
    assert " 0 new" not in first.err
    _, second = run(*words)
    assert second.out == first.out
    assert " 0 new, 0 changed" in second.err


def test_a_run_without_a_filter_is_a_tour_with_times(tmp_path):
    done = ask(tmp_path)
    tour = done.stdout
    (loading,) = [line for line in done.stderr.splitlines() if "loading" in line]
    assert loading.endswith(" 90% 100%")
    assert "█" in tour or "#" in tour
    assert "\x1b" not in tour  # no terminal, no colour
    assert tour.count(" ms)") >= 5
    assert "then from the cache" in tour
    assert "refused: " in tour


def test_the_filter_sort_and_limit_of_the_readme(tmp_path, run):
    write_table(tmp_path / "in.csv", 40, 1)
    words = ('bytes > 1000000 AND license LIKE "%MIT%"', "--sort", "-bytes", "--limit", "3")
    code, (out, _) = run(*words, "--input", "in.csv")
    assert code == 0
    rows = [line.split() for line in out.splitlines()[2:5]]
    sizes = [int(row[5].replace(",", "")) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert all(row[2] == "MIT" for row in rows)
    assert "; 3 shown" in out


def test_jsonl_is_read_like_csv(tmp_path, run):
    (tmp_path / "in.jsonl").write_text(
        '{"name": "a", "version": "1", "summary": "", "license": "MIT", "requirements": 0,'
        ' "files": 1, "bytes": 7, "newest": null}\n',
        encoding="utf-8",
    )
    code, (out, _) = run("bytes = 7", "--input", "in.jsonl")
    assert code == 0
    assert "1 packages, 7 bytes" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bytes >> 3",), "bytes >> 3\n       ^"),
        (("nosuch == 1",), "unknown field 'nosuch' (the fields are "),
        (("nosuch == 1",), "requirements, files, bytes, newest"),
        (("bytes = 1 AND byte = 2",), "bytes"),
        (("bytes > 'many'",), "'bytes' needs a whole number"),
        (("--sort", "size"), "unknown field 'size'"),
        (("bytes > 1", "--input", "no.csv"), "no.csv: No such file"),
        (("bytes > 1", "--input", "in.xls"), "ends in .csv or .jsonl"),
    ],
)
def test_what_is_wrong_is_said_and_the_exit_code_is_2(here, words, said):
    assert said in here(*words)
    assert not list(Path().glob("*.sqlite"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,1,,MIT,0,1,many,", "row 1, column bytes: Input should be a valid integer"),
        ("a,1,,MIT,0,1", "in.csv:2: no bytes; a row has name, version,"),
        ("a,1,,MIT,0,1,7,yesterday", "row 1, column newest"),
        (f"{'a' * 300},1,,MIT,0,1,7,", "row 1, column name: String should have at most 200"),
    ],
)
def test_a_wrong_table_names_the_row_and_the_column(here, row, said):
    header = "name,version,summary,license,requirements,files,bytes,newest"
    Path("in.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    assert said in here("bytes > 1", "--input", "in.csv")


def test_the_exit_code_is_that_of_the_process(tmp_path):
    assert "bytes >> 3\n       ^" in ask(tmp_path, "bytes >> 3", code=2).stderr


@pytest.mark.parametrize("attempt", range(20 if DEEP else 1))
def test_totals_are_right_after_a_kill_in_the_middle_of_a_load(tmp_path, run, attempt):
    rows, chance = 400 if DEEP else 200, random.Random(attempt)
    write_table(tmp_path / "old.csv", rows, 1)
    write_table(tmp_path / "new.csv", rows + 50, 2)
    words = ("name = 'p00000'", "--totals")
    # The second load updates, so that a total counted twice or not at all would show.
    for table in ("old.csv", "new.csv"):
        loading = subprocess.Popen(
            [*QUICKSTART, *words, "--input", table],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with loading:
            tenth = chance.randrange(1, 9)
            while tenth:  # its line grows ten times while it loads
                letter = loading.stderr.read(1)
                assert letter, "it ended before it was killed"
                tenth -= letter == "%"
            loading.send_signal(signal.SIGKILL)
        assert loading.returncode == -signal.SIGKILL
    _, again = run(*words, "--input", "new.csv")
    assert f"{rows + 50} packages read" in again.err
    assert shown_totals(again.out) == expected_totals(tmp_path / "new.csv")


def test_it_runs_the_same_on_postgresql(tmp_path, run, postgresql):
    write_table(tmp_path / "in.csv", 120, 3)
    words = ("bytes > 5000000", "--sort", "-bytes,name", "--totals", "--input", "in.csv")
    _, here = run(*words)
    _, there = run(*words, "--database", postgresql)
    assert there.out == here.out
    assert shown_totals(there.out) == expected_totals(tmp_path / "in.csv")
