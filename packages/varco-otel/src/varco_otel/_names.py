"""What spans, metrics and their attributes are called: the one place that names them."""

from __future__ import annotations

import os
from typing import Final

NAME: Final = "varco-otel"
VERSION: Final = "0.1.0"

# Attributes: the stable ones of OpenTelemetry, and ours.
ERROR_TYPE: Final = "error.type"
SERVICE: Final = "varco.service"
OPERATION: Final = "varco.operation"
REPOSITORY: Final = "varco.repository"
EVENT_ID: Final = "varco.event.id"
EVENT_TYPE: Final = "varco.event.type"
CHANNEL: Final = "varco.event.channel"
HANDLER: Final = "varco.handler"
BATCH: Final = "varco.batch.size"
VERIFIER: Final = "varco.token.verifier"
KEY_SOURCE: Final = "varco.keys.source"
BREAKER: Final = "varco.breaker.name"
BREAKER_STATE: Final = "varco.breaker.state"
CACHE: Final = "varco.cache.name"
STORE: Final = "varco.store.name"
BUS: Final = "varco.bus.name"
PARTITION: Final = "varco.partition"
OUTCOME: Final = "varco.outcome"
FUNCTION: Final = "varco.function"
REFUSED_BY: Final = "varco.refused.by"

# What stands for every value of an attribute that is none of a bounded number.
OTHER: Final = "_OTHER"


def wants_messaging() -> bool:
    """Whether the unstable conventions of messaging were asked for."""
    asked = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    return not {"messaging", "messaging/dup"}.isdisjoint(one.strip() for one in asked)
