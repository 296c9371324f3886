"""What HTTP clients see, as of every adapter."""

import pytest
from fastapi import FastAPI

from varco_fastapi import install, lifespan, resource
from varco_http.testing import HttpContract, asgi_client

pytestmark = pytest.mark.anyio


class TestFastApi(HttpContract):
    def client(self, application, resources, parts):
        app = FastAPI(lifespan=lifespan(application, *parts))
        install(app, application)
        for each in resources:
            app.include_router(resource(each))
        return asgi_client(app)
