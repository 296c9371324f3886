"""Contract suites: subclass one in your tests and pytest shows whether an implementation is sound.

They need pytest with anyio's plugin, and an `anyio_backend` fixture that says which loop to use.
"""

from importlib.util import find_spec

if not (find_spec("pytest") and find_spec("hypothesis")):
    raise ImportError(
        "varco_events.testing needs pytest and Hypothesis: pip install 'varco-events[testing]'"
    )

from varco_events.testing._bus import BusContract
from varco_events.testing._conservation import ConservationContract
from varco_events.testing._consumers import ConsumerStatesContract
from varco_events.testing._dlq import DeadLetterQueueContract
from varco_events.testing._failure_bench import FailureBench
from varco_events.testing._failure_benches import (
    DeadLetterFailuresContract,
    InboxFailuresContract,
    OutboxFailuresContract,
)
from varco_events.testing._failures import FailureStoreContract
from varco_events.testing._inbox import InboxContract
from varco_events.testing._lives import Life
from varco_events.testing._outbox import OutboxContract
from varco_events.testing._world import EventStores

__all__: tuple[str, ...] = (
    "BusContract",
    "ConservationContract",
    "ConsumerStatesContract",
    "DeadLetterFailuresContract",
    "DeadLetterQueueContract",
    "EventStores",
    "FailureBench",
    "FailureStoreContract",
    "InboxContract",
    "InboxFailuresContract",
    "Life",
    "OutboxContract",
    "OutboxFailuresContract",
)
