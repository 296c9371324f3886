import pytest

from varco_resilience import (
    ResilienceConfigError,
    RetryPolicy,
    UnsupportedFunctionError,
    fallback,
    retry,
)


def fail(error=ConnectionError):
    raise error("down")


async def fail_async(error=ConnectionError):
    raise error("down")


def test_a_value_instead_of_an_error():
    assert fallback(value=[])(fail)() == []
    assert fallback(value=None)(fail)() is None
    assert fallback(value=1)(str.upper)("a") == "A"


@pytest.mark.anyio
async def test_a_handler_sees_the_error():
    async def handler(error):
        return f"async {error}"

    assert fallback(str)(fail)() == "down"
    assert await fallback(str)(fail_async)() == "down"
    assert await fallback(handler)(fail_async)() == "async down"
    assert await fallback(lambda error: handler(error))(fail_async)() == "async down"  # noqa: PLW0108  # it is no async function
    with pytest.raises(UnsupportedFunctionError, match="its handler is async"):
        fallback(handler)(fail)


def test_only_the_errors_it_is_for():
    only = fallback(value="x", on=ConnectionError)(fail)
    assert only() == "x"
    with pytest.raises(KeyError):
        only(KeyError)
    with pytest.raises(KeyboardInterrupt):
        only(KeyboardInterrupt)


def test_an_exhausted_retry_is_judged_by_its_last_error(waits):
    retried = retry(RetryPolicy())(fail)
    assert fallback(value="x", on=ConnectionError)(retried)() == "x"


def test_an_error_of_the_handler_keeps_what_came_before():
    def handler(error):
        raise ValueError("handler")

    with pytest.raises(ValueError, match="handler") as caught:
        fallback(handler)(fail)()
    assert isinstance(caught.value.__context__, ConnectionError)


def test_what_makes_no_sense():
    with pytest.raises(ResilienceConfigError, match=r"write value=\.\.\."):
        fallback("default")
    with pytest.raises(ResilienceConfigError, match="cancellation is none"):
        fallback(value=1, on=BaseException)

    def items():
        yield 1

    with pytest.raises(UnsupportedFunctionError, match="it has given items away"):
        fallback(value=1)(items)
