"""What the names of varco-core 1.0.6 are called now, for those that are called something else."""

from __future__ import annotations

import importlib
import sys
import warnings
from opcode import opmap

_IMPORT_FROM = opmap["IMPORT_FROM"]

# The same thing, renamed: old name -> (module, name).
RENAMED = {
    "OperationNotFound": ("varco_query", "OperationNotSupportedError"),
    "OperationNotSupported": ("varco_query", "OperationNotSupportedError"),
    "QueryException": ("varco_query", "QueryError"),
    "WrongNodeVisited": ("varco_query", "InvalidNodeError"),
}

_SCHEMA = "values are coerced by varco_query.QuerySchema, which knows each field's type: "
_SQL = "the SQL of filters is varco_sa's own affair: "
_SAGA = (
    "varco has no sagas: let each step be a handler (varco_events.listen) that answers with the "
    "next event through the outbox, or use a workflow engine"
)

# What has no like: old name -> what to do.
ANSWERS = {
    "ASTQueryOptimizer": "call varco_query.optimize(node)",
    "ASTTypeCoercion": _SCHEMA + "QuerySchema.of(Model), given to QueryParser",
    "AbstractSagaRepository": _SAGA,
    "AuditEvent": (
        "derive an event of your own from varco_events.Event and override _events_of of "
        "EventServiceMixin, which is told who changed what: EntityChange has before and after"
    ),
    "BinaryWalkingVisitor": (
        "derive from varco_query.ASTVisitor, which walks by itself: visit_and(node, args) is given "
        "the results of the children"
    ),
    "EncryptedHint": (
        "varco encrypts no columns; let the database or a type of SQLAlchemy's do it: "
        "provider.map(model, orm_cls) of varco_sa takes a class of your own"
    ),
    "EventBusSettings": (
        "pass settings to the bus: InMemoryEventBus(error_policy=...), or "
        "varco_redis.RedisEventBusSettings, which reads the environment"
    ),
    "InMemorySagaRepository": _SAGA,
    "QueryApplicator": _SQL + "call AsyncRepository.find_by_query(QueryParams(...))",
    "QueryTransformer": "call varco_query.QueryParser().parse(text)",
    "SQLAlchemyAggregationApplicator": (
        "call varco_query.aggregate on rows, or write the statement with SQLAlchemy; "
        "coerce_aggregation checks what a caller asks for"
    ),
    "SQLAlchemyQueryApplicator": _SQL + "call AsyncRepository.find_by_query(QueryParams(...))",
    "SQLAlchemyQueryCompiler": (
        _SQL + "call AsyncRepository.find_by_query(QueryParams(...)); "
        "varco_query.compile has the parts of a compiler of your own"
    ),
    "SagaOrchestrator": _SAGA,
    "SagaState": _SAGA,
    "SagaStatus": _SAGA,
    "SagaStep": _SAGA,
    "TypeCoercionFieldInfo": _SCHEMA + "QuerySchema.of(Model), or QueryField(name, type)",
    "TypeCoercionRegistry": _SCHEMA + "QuerySchema.of(Model)",
    "TypedJsonSerializer": (
        "pass type_hint= to JsonSerializer.deserialize; events name their types by themselves, "
        "see varco_events.JsonEventSerializer"
    ),
    "boolean_field_info": _SCHEMA + "QueryField(name, bool)",
    "coerce_boolean": _SCHEMA + "QueryField(name, bool)",
    "coerce_datetime": _SCHEMA + "QueryField(name, datetime)",
    "coerce_float": _SCHEMA + "QueryField(name, float)",
    "coerce_int": _SCHEMA + "QueryField(name, int)",
    "coerce_list": _SCHEMA + "the elements of a list are of the field's type",
    "register_default_coercer": _SCHEMA + "a field has its own type there",
}


def moved(module: str, name: str) -> object:
    """Return what an old name stands for, with a warning, or say what to do instead.

    Raises:
        AttributeError: Nothing is called so any more; the message has the new name.
        ImportError: The same, to an import statement, which would hide the other's message.
        KeyError: Nothing was ever called so.
    """
    if name in RENAMED:
        home, now = RENAMED[name]
        warnings.warn(f"{module}.{name} is {home}.{now}", DeprecationWarning, stacklevel=3)
        value: object = getattr(importlib.import_module(home), now)
        setattr(sys.modules[module], name, value)  # once is enough
        return value
    message = f"{module}.{name} is no more: {ANSWERS[name]}"
    frame = sys._getframe(2)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # who asks
    if frame.f_code.co_code[frame.f_lasti] == _IMPORT_FROM:
        raise ImportError(message, name=module)
    raise AttributeError(message, name=name)
