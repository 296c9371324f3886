"""Prove a backend: derive from the contract classes, and run the isolation machine.

```python
class TestMine(RepositoryContract, UnitOfWorkContract, TenantContract, ServiceContract):
    @asynccontextmanager
    async def provider(self):
        yield MyProvider(*MODELS)
```

The methods are coroutines; mark the module for the async plugin of your test runner
(`pytestmark = pytest.mark.anyio`). Nothing here imports pytest.
"""

from importlib.util import find_spec

if find_spec("hypothesis") is None:
    raise ImportError("varco_domain.testing needs hypothesis: pip install 'varco-domain[testing]'")

from varco_domain.testing._contract import RepositoryContract
from varco_domain.testing._machine import isolation_machine
from varco_domain.testing._models import MODELS
from varco_domain.testing._one_meaning import QUERY_MODELS, QueryContract
from varco_domain.testing._service_contract import ServiceContract
from varco_domain.testing._transactions import TenantContract, UnitOfWorkContract

__all__ = (
    "MODELS",
    "QUERY_MODELS",
    "QueryContract",
    "RepositoryContract",
    "ServiceContract",
    "TenantContract",
    "UnitOfWorkContract",
    "isolation_machine",
)
