import subprocess
import sys
from importlib import import_module

import pytest

import varco_domain

MODULES = [
    "assembler",
    "auth",
    "auth.helpers",
    "backend",
    "dto",
    "exception",
    "mapper",
    "memory",
    "meta",
    "model",
    "observe",
    "providers",
    "registry",
    "repository",
    "service",
    "service.base",
    "service.mixin",
    "service.soft_delete",
    "service.tenant",
    "service.types",
    "service.validation",
    "testing",
    "uow",
    "validation",
]


@pytest.mark.parametrize("name", MODULES)
def test_submodules_export_what_they_say(name: str):
    module = import_module(f"varco_domain.{name}")
    assert isinstance(module.__all__, tuple)
    assert len(set(module.__all__)) == len(module.__all__)
    for item in module.__all__:
        assert getattr(module, item).__doc__ or not callable(getattr(module, item))


def test_the_top_offers_everything_but_the_test_suite_and_what_backends_use():
    names: set[str] = set()
    for module in MODULES:
        if module not in {"testing", "backend", "observe"} and not module.startswith("service."):
            names.update(import_module(f"varco_domain.{module}").__all__)
    of_backends = set(import_module("varco_domain.backend").__all__)
    assert set(varco_domain.__all__) == names - of_backends
    names -= of_backends
    for name in names:
        assert getattr(varco_domain, name) is not None
    assert set(dir(varco_domain)) >= names
    with pytest.raises(AttributeError, match="Typo"):
        _ = varco_domain.Typo


def loaded(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_top_loads_nothing_and_models_load_no_pydantic():
    assert {m for m in loaded("import varco_domain") if m.startswith("varco_domain.")} == set()
    modules = loaded(
        "from varco_domain import AuditedDomainModel, "
        "MetaReader, TenantSoftDeleteVersionedDomainModel, pk_field, register"
    )
    assert not modules & {"pydantic", "pydantic_core", "providify", "anyio", "lark", "hypothesis"}


def test_what_moved_answers_once_with_its_new_name():
    backend = import_module("varco_domain.backend")
    never_there = {"changed_values", "no_more_keys", "stored_as", "Tenancy", "as_key"}
    never_there |= {"check_condition", "unique_fields", "value_class", "Closable", "Opening"}
    for name in set(backend.__all__) - never_there:
        vars(varco_domain).pop(name, None)
        with pytest.warns(DeprecationWarning, match=rf"varco_domain\.backend\.{name}"):
            assert getattr(varco_domain, name) is getattr(backend, name)
        assert getattr(varco_domain, name) is getattr(backend, name)  # and warns no more
