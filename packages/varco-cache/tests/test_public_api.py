import subprocess
import sys
import textwrap

import pytest

import varco_cache
import varco_cache.testing


@pytest.mark.parametrize("module", [varco_cache, varco_cache.testing])
def test_all_names_exist_and_are_sorted_and_documented(module):
    assert isinstance(module.__all__, tuple)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        assert name.isupper() or value.__doc__, name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Nothing'"):
        _ = varco_cache.Nothing


def run(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )


def test_importing_it_loads_nothing_of_the_extras():
    code = """
        import sys, varco_cache
        loaded = {"pydantic", "providify", "varco_domain", "varco_events", "varco_query"}
        assert not loaded & set(sys.modules), loaded & set(sys.modules)
    """
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("CacheServiceMixin", "varco_domain", "domain"),
        ("CachedService", "varco_domain", "domain"),
        ("CacheInvalidated", "varco_events", "events"),
        ("CacheInvalidationConsumer", "varco_events", "events"),
    ],
)
def test_without_the_extra_the_error_says_what_to_install(name, missing, extra):
    code = f"""
        import sys
        class Hide:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {{"{missing}", "providify", "varco_query"}}:
                    raise ModuleNotFoundError(name, name=name)
        sys.meta_path.insert(0, Hide())
        from varco_cache import {name}
    """
    done = run(code)
    assert f"pip install 'varco-cache[{extra}]'" in done.stderr


def test_errors_say_what_they_are():
    for name in varco_cache.__all__:
        value = getattr(varco_cache, name)
        if isinstance(value, type) and issubclass(value, varco_cache.CacheError):
            assert value.code.startswith("cache.")
            assert isinstance(value.http_status, int)
