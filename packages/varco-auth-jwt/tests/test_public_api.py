"""What is exported, what it costs to import, and that it is typed."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import varco_auth_jwt
from varco_auth_jwt import AuthJwtError, TokenError

HERE = Path(__file__).parent


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_all_names_exist_once():
    names = varco_auth_jwt.__all__
    assert isinstance(names, tuple)
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(varco_auth_jwt, name) is not None
    assert set(names) <= set(dir(varco_auth_jwt))
    with pytest.raises(AttributeError, match="Typo"):
        _ = varco_auth_jwt.Typo


def test_every_public_thing_is_documented():
    for name in varco_auth_jwt.__all__:
        value = getattr(varco_auth_jwt, name)
        if not inspect.isclass(value):
            continue
        assert value.__doc__, name
        for member, function in inspect.getmembers(value, inspect.isfunction):
            if not member.startswith("_") and function.__module__.startswith("varco_auth_jwt"):
                assert inspect.getdoc(function), f"{name}.{member}"


def test_every_error_has_a_code_of_its_own_and_a_status():
    errors = [
        value
        for name in varco_auth_jwt.__all__
        if inspect.isclass(value := getattr(varco_auth_jwt, name))
        and issubclass(value, AuthJwtError)
    ]
    codes = [error.code for error in errors if error.__name__ != "ClaimError"]
    assert len(codes) == len(set(codes)) > 25
    for error in errors:
        assert (
            error.http_status == 401 if issubclass(error, TokenError) else error.http_status >= 500
        )
        assert error.public_message.endswith(".")
        if issubclass(error, TokenError):
            assert error.public_message == TokenError.public_message


def test_importing_the_package_loads_nothing_but_it():
    loaded = loaded_after("import varco_auth_jwt")
    assert not {name for name in loaded if name.startswith("varco_auth_jwt.")}
    assert not loaded & {"joserfc", "cryptography", "httpx", "anyio", "json"}


def test_builder_and_parser_load_no_httpx():
    loaded = loaded_after("from varco_auth_jwt import JwtBuilder, JwtParser")
    assert "joserfc" in loaded
    assert not loaded & {"httpx", "anyio", "asyncio", "joserfc.jwe", "varco_domain", "pydantic"}


def test_sources_and_registry_load_no_httpx_until_they_fetch():
    names = "TrustedIssuerRegistry, JwksUrlSource, OidcDiscoverySource, PemFileSource, JwtAuthority"
    loaded = loaded_after(
        f"from varco_auth_jwt import {names}\nJwksUrlSource('https://idp.example/jwks')"
    )
    assert not loaded & {"httpx", "httpcore", "varco_domain", "pydantic"}


def test_every_module_is_private_and_small():
    for module in pkgutil.iter_modules(varco_auth_jwt.__path__):
        assert module.name.startswith("_")
        path = Path(importlib.import_module(f"varco_auth_jwt.{module.name}").__file__)
        assert len(path.read_text().splitlines()) < 400, path
