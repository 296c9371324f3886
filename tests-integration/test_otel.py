"""A trace over Redis and over Kafka, what the tracker prints of its spans, and the dashboards."""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis as RedisClient

from varco_domain import AsyncService, BaseAuthorizer, DomainModel, generate_dtos
from varco_events import EntityCreatedEvent, EventServiceMixin, OutboxRelay
from varco_kafka import KafkaEventBus, KafkaEventBusSettings
from varco_otel import METRICS, instrument, uninstrument
from varco_redis import RedisEventBus, RedisEventBusSettings
from varco_sa import Backend, SQLAlchemyRepositoryProvider, make_engine

ROOT = Path(__file__).parents[1]


class Parcel(DomainModel):
    weight: int


class Everybody(BaseAuthorizer):
    def decide(self, ctx, action, resource):
        return True


class ParcelService(EventServiceMixin, AsyncService[Parcel]):
    _event_channel = "parcels"


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrument(tracer_provider=provider)
    yield exporter
    uninstrument()


def whole(spans):
    """What hangs together: the spans that a parent or a link leads to from the others."""
    by_id = {span.context.span_id: span for span in spans}
    group = {span.context.span_id: {span.context.span_id} for span in spans}
    for span in spans:
        others = [link.context.span_id for link in span.links]
        others += [span.parent.span_id] if span.parent else []
        for other in others:
            joined = group[span.context.span_id] | group[other]
            for each in joined:
                group[each] = joined
    return {frozenset(by_id[each].name for each in one) for one in map(frozenset, group.values())}


@pytest.fixture
def anyio_backend():
    return "asyncio"


@asynccontextmanager
async def over_redis(url, prefix):
    settings = RedisEventBusSettings(url=url, key_prefix=f"{prefix}:", group="otel")
    async with RedisEventBus(settings) as bus:
        yield bus
    async with RedisClient.from_url(url) as client:
        await client.delete(*[key async for key in client.scan_iter(f"{prefix}*")])


def over_kafka(url, prefix):
    topic = f"{prefix}.{{channel}}"
    return KafkaEventBus(KafkaEventBusSettings(url=url, topic=topic, group=prefix, partitions=1))


BUSES = {"redis": over_redis, "kafka": over_kafka}


@pytest.mark.anyio
@pytest.mark.parametrize("handlers", ["link", "parent"])
@pytest.mark.parametrize("server", BUSES)
async def test_a_request_is_one_whole_over_the_outbox_and_a_broker(
    server, spans, handlers, request
):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrument(tracer_provider=provider, handlers=handlers)
    url, prefix = request.getfixturevalue(server), f"varco-test-otel-{secrets.token_hex(6)}"
    store = SQLAlchemyRepositoryProvider(make_engine("sqlite+aiosqlite://"), Parcel)
    handled = asyncio.Event()

    async def handle(event):
        with provider.get_tracer("test").start_as_current_span("weigh"):
            handled.set()

    async with Backend(store, owns_engine=True) as backend, BUSES[server](url, prefix) as bus:
        await store.create_tables()
        bus.subscribe(EntityCreatedEvent, handle)
        service = ParcelService(backend.uow_provider, Everybody())
        with provider.get_tracer("test").start_as_current_span("POST /parcels"):
            await service.create(generate_dtos(Parcel).create(weight=3))
        await OutboxRelay(outbox=backend.outbox, bus=bus).run_once()
        async with asyncio.timeout(30):
            await handled.wait()
    found = spans.get_finished_spans()
    (group,) = whole(found)
    assert group == {
        "POST /parcels",
        "ParcelService.create",
        "SQLAlchemyRepository.save",
        "create varco.entity.created",
        "send from outbox",
        "process varco.entity.created",
        "weigh",
    }
    traces = {span.name: span.context.trace_id for span in found}
    together = traces["POST /parcels"] == traces["weigh"]
    assert together is (handlers == "parent")


def test_the_tracker_prints_its_spans(tmp_path):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from starlette.testclient import TestClient
from tracker.tracing import fastapi
from tracker.app import authority
token = authority().token().subject("ann").claim("tenant", "acme").claim("roles", ["admin"])
with TestClient(fastapi(), base_url="http://localhost") as client:
    headers = {"authorization": f"Bearer {token.expires_in(60).build()}"}
    print(client.get("/projects", headers=headers).status_code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "examples")],
        env={**os.environ, "TRACKER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^[0-9a-f]{32} +[0-9.]+ ms  ProjectService\.paged_list$", done.stdout, re.MULTILINE
    ), done.stdout


def exported(metric):
    """The series of a metric in Prometheus, by the rules of OpenTelemetry."""
    name = metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
    if metric.kind == "histogram":
        return {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return {f"{name}_total" if metric.kind == "counter" else name}


def test_dashboards_show_every_metric_and_no_other():
    named = set()
    for path in (ROOT / "docs" / "grafana").glob("*.json"):
        board = json.loads(path.read_text(encoding="utf-8"))
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            for target in panel["targets"]:
                without_labels = re.sub(r"\{[^}]*\}|by \([^)]*\)", "", target["expr"])
                named |= set(re.findall(r"\bvarco_\w+", without_labels))
    series = {metric.name: exported(metric) for metric in METRICS}
    assert named <= set().union(*series.values())
    assert [name for name, known in series.items() if not known & named] == []
