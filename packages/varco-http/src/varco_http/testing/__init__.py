"""Prove an adapter for a framework: derive from `HttpContract`, and say how to serve.

```python
class TestMine(HttpContract):
    def client(self, application, resources, parts):
        return asgi_client(make_application(application, resources, parts))
```

The methods are coroutines; mark the module for the async plugin of your test runner
(`pytestmark = pytest.mark.anyio`). Nothing here imports pytest.
"""

from importlib.util import find_spec

if not (find_spec("hypothesis") and find_spec("openapi_pydantic")):
    raise ImportError(
        "varco_http.testing needs Hypothesis and openapi-pydantic: "
        "pip install 'varco-http[testing]'"
    )

from varco_http.testing._asgi_client import Send, asgi_client
from varco_http.testing._contract import HttpContract

__all__: tuple[str, ...] = ("HttpContract", "Send", "asgi_client")
