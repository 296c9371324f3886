# ruff: noqa: T201, E501 - a script that reports, and quotes lines of code
"""Take out one scoping line at a time, and see whether a test notices.

    uv run python packages/varco-domain/tests/mutations.py   # all; takes minutes
    uv run python packages/varco-domain/tests/mutations.py --core --every 30   # as a test does

The mutations are made from the syntax trees of the functions in ``SCOPING``: each statement that
does something, each guard, each operand of a condition, each wrapper around a query, and each part
of a scope is left out in turn (``_Finder``). A mutant lives in a copy of the package. First the
contract suite runs on it, in a forked child so that the libraries are imported once; what survives
that meets the whole test files in ``TESTS``. What survives those too is printed, unless it stands
in ``HARMLESS`` with the reason. The exit status is the number of lines printed.
"""

import argparse
import ast
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_loader
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "varco_domain"
TESTS = (
    *("test_service.py", "test_memory.py", "test_authorizers.py", "test_errors.py"),
    *("test_reference_readme.py", "test_scoping.py", "test_contract_memory.py"),
    *("test_isolation_memory.py", "test_cancellation.py", "test_hooks.py", "test_references.py"),
)

# Seconds for the contract suite, which takes one: a mutant that never ends is noticed.
TIME = 60

# Where rows are scoped: module -> functions, or "*" for all.
SCOPING: dict[str, tuple[str, ...]] = {
    "_tenancy.py": ("*",),
    "service/tenant.py": ("*",),
    "service/soft_delete.py": ("*",),
    "service/_reader.py": ("*",),
    "service/_references.py": ("*",),
    "service/_ripple.py": ("*",),
    "service/_audience.py": ("*",),
    "_lookup.py": ("*",),
    "service/base.py": (
        *("create", "create_many", "update", "update_many", "delete", "delete_many"),
        *("_changed", "_check_version", "_check_references", "_take_away"),
    ),
    "service/_paging.py": ("query", "unlimited", "stream", "page", "_checked", "_schema"),
    "service/_setup.py": ("check_service", "check_update", "check_assembled"),
    "auth/_base.py": (
        *("can", "_wider", "is_anonymous", "ask", "authorize", "__init_subclass__"),
        *("condition_for", "permits"),
    ),
    "auth/helpers.py": ("*",),
    "uow.py": ("repository", "bind_tenancy", "__aenter__"),
    "providers.py": ("stream_by_query", "_stream"),
    "memory.py": ("_find", "_matching", "update_many_by_query"),
    "_memory_changes.py": ("matching", "_exists"),
}
# A call of one of these may be replaced by each of its arguments.
WRAPPERS = frozenset({"_where", "_params", "_owned", "both", "_both"})
NODES = frozenset({"AndNode", "QueryParams"})
# Lines that have other purposes than scoping: tests of their own show what they are for.
OTHER_PURPOSES = (
    *(
        "super().__init__",
        "super().__init_subclass__",
        "_announce",
        "_validate",
        "check_bulk",
        "_log.",
    ),
    *("query.limit", "query.offset", "left", "skip", "self._lock", "untouched("),
)

# Survivors that change nothing that anybody could see: module -> reason -> what is left out.
HARMLESS: dict[str, dict[str, tuple[str, ...]]] = {
    "service/_reader.py": {
        "reads more rows of the same scope, of which only those that were asked for are picked": (
            "AndNode(wanted, where) -> (AndNode(where))",
        ),
        "a base that names no model at all is refused by another error": (
            "arguments[0] if arguments else None -> (arguments[0])",
        ),
        "what is no model is refused by its declaration's error": (
            "isinstance(model, type) and issubclass(model, DomainModel) -> (isinstance(model, type))",
        ),
        "decides about each row what the condition says": (
            "_ROW_BY_ROW if node is None else node -> (_ROW_BY_ROW)",
            "by_row and not await self._permits(ctx, entity) -> (not await self._permits(ctx, entity))",
            "not by_row -> False",
        ),
        "a conjunction of nothing holds for all rows": ("not nodes -> False",),
        "a conjunction of one is that one": (
            "nodes[0] if len(nodes) == 1 else AndNode(*nodes) -> (AndNode(*nodes))",
        ),
        "asks for none of the rows": ("not pks -> False",),
    },
    "_tenancy.py": {
        "the same condition twice selects the same rows": (
            "second is None or second is first -> (second is None)",
            "isinstance(node, AndNode) and any(child is self._scope for child in node.children) -> False",
        ),
        "makes an equal query": ("node is params.node -> False",),
    },
    "service/_references.py": {
        "asks for none of the rows": ("values -> True",),
        "a class that is not registered has no table to refer to": (
            "key.reference if isinstance(key.reference, type) else models_of(uow).get(key.table) -> (models_of(uow).get(key.table))",
        ),
        "what is no mapping is the attribute of a test's double": (
            "models if isinstance(models, Mapping) else {} -> (models)",
        ),
        "a single key is called pk": (
            'target.pk_fields[0] if key.field == "pk" else key.field -> (key.field)',
        ),
    },
    "_lookup.py": {
        "no condition holds for all rows": ("where is None -> False",),
        "decides here what the repository would": (
            'takes(repository.find_by_id, "where") -> False',
            'takes(repository.exists, "where") -> False',
        ),
        "counts all, and says no more than asked": ('takes(repository.count, "up_to") -> False',),
    },
    "service/_paging.py": {
        "reads a row that is not shown": ("limit + 1 if limit else 0 -> (limit + 1)",),
        "no fields are checked, and the ties follow": ("not params.sort -> False",),
        "a field decides nothing the second time": ("tie.field not in named -> True",),
    },
    "auth/helpers.py": {
        "decides about each row what the condition says": (
            "None if nodes is None else OrNode(*nodes) -> (None)",
        ),
        "a list of no keys selects no rows": ("not keys -> False",),
        "a list of keys is a disjunction of them": ("not meta.is_composite_pk -> False",),
        "a key without a value has the name of its table, which no row has": (
            "None not in values and resource_key(meta.entity_cls, pk) == key -> (resource_key(meta.entity_cls, pk) == key)",
        ),
    },
    "memory.py": {
        "no condition holds for all rows": (
            "row is None or where is None -> (row is None)",
            "node is None -> False",
        ),
    },
    "service/_ripple.py": {
        "looks for rows of which nobody hears": ("not self._concerns(child, models) -> False",),
        "what restricts lets nothing go, so that there is nothing to tell": (
            'key.table == target.table and key.on_delete in {"CASCADE", "SET NULL"} -> (key.table == target.table)',
        ),
    },
    "_memory_changes.py": {
        "looks at all rows for the one with the key": (
            "target.meta.pk_fields == (field,) -> False",
        ),
    },
}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a module's text."""

    module: str
    line: int
    what: str
    text: str
    core: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: survives: {self.what}"


class _Finder(ast.NodeVisitor):
    """Finds what can be left out: (node, what replaces it)."""

    def __init__(self, functions: tuple[str, ...]) -> None:
        self._functions = functions
        self._inside = False
        self._known: set[str] = set()
        self.found: list[tuple[ast.AST, ast.AST | str]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if not self._inside and not {"*", node.name} & set(self._functions):
            return
        before = self._inside, self._known
        arguments = node.args
        self._inside = True
        self._known = {a.arg for a in (*arguments.args, *arguments.kwonlyargs)}
        body = node.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        for statement in body:
            self.visit(statement)
        self._inside, self._known = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the visitor's name for it

    def visit_Expr(self, node: ast.Expr) -> None:
        if self._inside and not isinstance(node.value, ast.Yield):
            self.found.append((node, "pass"))
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.found.append((node, "pass"))

    def visit_Continue(self, node: ast.Continue) -> None:
        self.found.append((node, "pass"))

    def visit_Assign(self, node: ast.Assign) -> None:
        if not self._inside:
            return
        names = {
            t.id for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name)
        }
        if not isinstance(node.targets[0], ast.Name) or names <= self._known:
            self.found.append((node, "pass"))
        self._known |= names
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if self._inside:
            self.found.append((node.test, "False"))
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        if self._inside:
            self.found += [(node, node.body), (node, node.orelse)]
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for value in node.values if self._inside else ():
            rest = [other for other in node.values if other is not value]
            self.found.append((node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)))
        self.generic_visit(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        if self._inside and isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
            starred = any(isinstance(element, ast.Starred) for element in node.elts)
            for element in node.elts if starred else ():
                rest = [other for other in node.elts if other is not element]
                self.found.append((node, ast.Tuple(rest, ast.Load())))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if self._inside and name in WRAPPERS:
            self.found += [(node, argument) for argument in node.args]
        if self._inside and name in NODES:
            # Of a query the condition, of a conjunction each part.
            for argument in node.args[: 1 if name == "QueryParams" else None]:
                rest = [other for other in node.args if other is not argument]
                arguments = rest if name == "AndNode" else [ast.Constant(None), *rest]
                self.found.append((node, ast.Call(node.func, arguments, node.keywords)))
        for keyword in node.keywords if self._inside else ():
            if keyword.arg in {"where", "node"}:
                keywords = [other for other in node.keywords if other is not keyword]
                self.found.append((node, ast.Call(node.func, node.args, keywords)))
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.found += [(test, "True") for test in node.ifs if self._inside]
        self.generic_visit(node)


def mutations() -> Iterator[Mutation]:
    """All of them, module by module."""
    for module, functions in SCOPING.items():
        text = (SOURCE / module).read_text()
        finder = _Finder(functions)
        finder.visit(ast.parse(text))
        lines = text.splitlines(keepends=True)
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line.encode()))
        raw = text.encode()
        for node, new in finder.found:
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            written = new if isinstance(new, str) else f"({ast.unparse(new)})"
            old = " ".join(raw[start:end].decode().split())
            changed = (raw[:start] + written.encode() + raw[end:]).decode()
            other = any(purpose in old for purpose in OTHER_PURPOSES)
            if written != f"({old})" and not other:
                core = isinstance(node, ast.Call) or "ask(" in old
                yield Mutation(module, node.lineno, f"{old} -> {written}", changed, core)


class _Mutant(MetaPathFinder, Loader):
    """Imports the mutant's text in place of its module."""

    def __init__(self, mutation: Mutation) -> None:
        self._name = "varco_domain." + mutation.module.removesuffix(".py").replace("/", ".")
        self._text = mutation.text

    def find_spec(self, fullname, path, target=None):
        return spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module):
        exec(compile(self._text, self._name, "exec"), module.__dict__)


def probe() -> None:
    """Run the suite's classes that are about who sees what; raise if one fails."""
    from varco_domain._memory_changes import Changes
    from varco_domain.memory import InMemoryRepositoryProvider
    from varco_domain.testing import MODELS, ServiceContract, TenantContract

    class Memory(TenantContract, ServiceContract):
        @asynccontextmanager
        async def provider(self):
            yield InMemoryRepositoryProvider(*MODELS)

    suite = Memory()
    for name in sorted(name for name in dir(suite) if name.startswith("test_")):
        asyncio.run(getattr(suite, name)())
    # Once more as over a backend whose foreign keys know nothing of tenants.
    check = Changes._exists
    Changes._exists = lambda self, target, fk, value, tenant: check(self, target, fk, value, None)
    asyncio.run(suite.test_references_stay_in_the_tenant())


def copy_of(mutation: Mutation) -> Path:
    """Write the mutant into a folder of its own, with the compiled files of the other modules."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(SOURCE, folder / "varco_domain")
    (folder / "varco_domain" / mutation.module).write_text(mutation.text)
    return folder


def start(mutation: Mutation) -> int:
    """Start a child that ends with 0 if the contract suite does not notice the mutation."""
    child = os.fork()
    if child:
        return child
    try:
        signal.alarm(TIME)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.meta_path.insert(0, _Mutant(mutation))
        probe()
    except BaseException:
        os._exit(1)
    os._exit(0)


def survives_tests(mutation: Mutation) -> bool:
    """Run whole test files on a mutant that the contract suite did not notice."""
    folder = copy_of(mutation)
    here = Path(__file__).parent
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *(str(here / name) for name in TESTS)],
            capture_output=True,
            check=False,
            cwd=here.parents[2],
            env={**os.environ, "PYTHONPATH": str(folder), "HYPOTHESIS_PROFILE": "ci"},
        )
        return done.returncode == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def survivors(wanted: list[Mutation]) -> Iterator[Mutation]:
    """Those that the contract suite does not notice; two or more run at a time."""
    waiting: dict[int, Mutation] = {}
    for mutation in [*wanted, None]:
        while waiting and (mutation is None or len(waiting) == (os.cpu_count() or 1)):
            child, status = os.wait()
            done = waiting.pop(child)
            if status == 0:
                yield done
        if mutation is not None:
            waiting[start(mutation)] = mutation


def main() -> int:
    import anyio.from_thread
    import hypothesis.stateful
    import providify
    import pydantic

    import varco_query

    del anyio, hypothesis, providify, pydantic, varco_query
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take each n-th mutation only")
    parser.add_argument("--core", action="store_true", help="only wrappers, nodes and questions")
    parser.add_argument("--only", default="", help="modules whose path contains this text")
    options = parser.parse_args()
    every = [m for m in mutations() if options.only in m.module and m.core >= options.core]
    wanted = every[:: options.every]
    printed = 0
    nothing = Mutation("_tenancy.py", 0, "nothing", (SOURCE / "_tenancy.py").read_text(), True)
    if not list(survivors([nothing])):
        print("the suite fails without any mutation")
        printed += 1
    noticed = 0
    harmless = {
        (module, what)
        for module, reasons in HARMLESS.items()
        for lines in reasons.values()
        for what in lines
    }
    for mutation in survivors(wanted):
        if (mutation.module, mutation.what) in harmless:
            continue
        if survives_tests(mutation):
            print(mutation, flush=True)
            printed += 1
        else:
            noticed += 1
    known = {(m.module, m.what) for m in every}
    for module, what in () if options.only or options.core else harmless:
        if (module, what) not in known:
            print(f"{module}: there is no such line to leave out: {what}")
            printed += 1
    told = f"{len(wanted)} mutations, {noticed} of them noticed by the test files only"
    print(told, file=sys.stderr)
    return printed


if __name__ == "__main__":
    sys.exit(main())
