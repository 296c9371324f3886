"""What the package offers, and what importing it costs."""

import subprocess
import sys

import varco_redis
import varco_redis.cache


def test_all_is_sorted_complete_and_importable():
    for module in (varco_redis, varco_redis.cache):
        assert isinstance(module.__all__, tuple)
        assert list(module.__all__) == sorted(module.__all__)
        assert all(getattr(module, name).__doc__ for name in module.__all__)
    public = {name for name in dir(varco_redis) if name[0] != "_"} - {"cache", "TYPE_CHECKING"}
    assert set(varco_redis.__all__) == public
    assert set(varco_redis.cache.__all__) <= public


def test_errors_can_be_mapped():
    for name in varco_redis.__all__:
        error = getattr(varco_redis, name)
        if isinstance(error, type) and issubclass(error, Exception):
            assert error.code.startswith("redis."), name
            assert isinstance(error.http_status, int), name


def test_importing_it_brings_neither_domain_nor_database():
    code = (
        "import sys, varco_redis; "
        "loaded = {'varco_domain', 'varco_sa', 'sqlalchemy', 'lark'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_it_loads_nothing_until_a_name_is_touched():
    code = (
        "import sys; before = set(sys.modules); import varco_redis; "
        "loaded = set(sys.modules) - before; assert loaded == {'varco_redis'}, loaded; "
        "assert varco_redis.RedisLock.__name__ in dir(varco_redis); "
        "loaded = {'varco_redis._bus', 'varco_redis._cache', 'pydantic'} & set(sys.modules); "
        "assert not loaded, loaded; "
        "hasattr(varco_redis, 'Typo') and exit('a name that is not there')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
