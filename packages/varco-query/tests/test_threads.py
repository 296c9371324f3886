import subprocess
import sys
import threading

from varco_query import QueryParser, render
from varco_query.testing import CASES, SCHEMA

# The first parse makes the parser: all threads begin before there is one.
FIRST = """
import threading
from varco_query import QueryParser, render
barrier, found = threading.Barrier(8), []
def parse():
    barrier.wait()
    found.append(render(QueryParser().parse_node("(a = 1 OR b IN (2, 3)) AND NOT c LIKE 'x'")))
threads = [threading.Thread(target=parse) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), *set(found), sep="\\n")
"""


def test_threads_may_race_for_the_first_parse():
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [
        "8",
        "(a = 1 OR b IN (2, 3)) AND NOT c LIKE 'x'",
    ]


def test_threads_may_share_a_parser():
    parser = QueryParser(SCHEMA)
    expected = {text: render(QueryParser(SCHEMA).parse_node(text)) for text, _ in CASES}
    wrong = []

    def parse():
        for _ in range(5):
            for text, rendered in expected.items():
                if render(parser._parse_text(text)) != rendered:
                    wrong.append(text)

    threads = [threading.Thread(target=parse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
