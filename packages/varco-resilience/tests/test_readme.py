"""The README runs as written, and so do the examples that this API is named after."""

import ast
import asyncio
import inspect
import re
from pathlib import Path

import pytest

import varco_resilience

README = Path(__file__).parents[1] / "README.md"

REFERENCE = """\
from varco_resilience import (
    retry, RetryPolicy, CircuitBreaker, CircuitBreakerConfig, circuit_breaker, timeout
)

@retry(RetryPolicy(max_attempts=3, base_delay=0.5, retryable_on=(ConnectionError,)))
async def call_payment_api(payload: dict) -> Receipt:
    return await http_client.post("/charge", json=payload)

@timeout(10.0)
async def fetch_user(user_id: int) -> User:
    return await db.get(User, user_id)

payment_breaker = CircuitBreaker(
    CircuitBreakerConfig(failure_threshold=5, recovery_timeout=30.0),
    name="payments",
)

@payment_breaker.protect
async def charge(amount: float) -> str:
    return await _charge(amount)

@timeout(10.0)
@retry(RetryPolicy(max_attempts=3, base_delay=0.5))
@circuit_breaker(CircuitBreakerConfig(failure_threshold=5))
async def resilient_call() -> Response: ...

got = [
    await call_payment_api({"amount": 1}),
    await fetch_user(7),
    await charge(1.0),
    await resilient_call(),
]
"""


class Backend:
    async def post(self, path, *, json):
        return path, json

    async def get(self, kind, pk):
        return kind, pk


async def run(source, namespace):
    code = compile(source, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, namespace)
    if inspect.isawaitable(result):
        await result


def test_the_readme_runs():
    blocks = re.findall(
        r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) > 10
    namespace = {"__name__": "readme"}

    async def all_blocks():
        for block in blocks:
            await run(block, namespace)

    asyncio.run(all_blocks())


def test_the_examples_of_the_reference_run():
    async def charge(amount):
        return f"charged {amount}"

    namespace = {
        "Receipt": tuple,
        "User": "user",
        "Response": object,
        "http_client": Backend(),
        "db": Backend(),
        "_charge": charge,
    }
    asyncio.run(run(REFERENCE, namespace))
    assert namespace["got"] == [
        ("/charge", {"amount": 1}),
        ("user", 7),
        "charged 1.0",
        None,
    ]


# These are met as what a call returns, or as the type of an argument.
MET_BY_OTHERS = {
    "Attempt",
    "AttemptFailure",
    "Fallback",
    "Guard",
    "Hedge",
    "Retrying",
    "Strategy",
    "Timeout",
}


@pytest.mark.parametrize("name", sorted(set(varco_resilience.__all__) - MET_BY_OTHERS))
def test_the_readme_names_what_matters(name):
    assert re.search(rf"\b{name}\b", README.read_text(encoding="utf-8"))
