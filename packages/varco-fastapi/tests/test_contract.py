"""What HTTP clients see, as of every adapter."""

import pytest

from varco_fastapi import make_app
from varco_http.testing import HttpContract, asgi_client

pytestmark = pytest.mark.anyio


class TestFastApi(HttpContract):
    def client(self, application, resources, parts):
        return asgi_client(make_app(application, resources, parts=parts))
