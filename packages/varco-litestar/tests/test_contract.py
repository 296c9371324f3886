"""What HTTP clients see, as of every adapter."""

import pytest
from litestar import Litestar

from varco_http.testing import HttpContract, asgi_client
from varco_litestar import VarcoPlugin

pytestmark = pytest.mark.anyio


class TestLitestar(HttpContract):
    def client(self, application, resources, parts):
        plugin = VarcoPlugin(application, resources=resources, parts=parts)
        return asgi_client(Litestar(plugins=[plugin]))
