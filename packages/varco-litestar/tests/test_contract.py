"""What HTTP clients see, as of every adapter."""

import pytest
from litestar import Litestar

from varco_http.testing import HttpContract, asgi_client
from varco_litestar import VarcoPlugin, resource

pytestmark = pytest.mark.anyio


class TestLitestar(HttpContract):
    def client(self, application, resources, parts):
        routers = [resource(each) for each in resources]
        return asgi_client(Litestar(routers, plugins=[VarcoPlugin(application, parts=parts)]))
