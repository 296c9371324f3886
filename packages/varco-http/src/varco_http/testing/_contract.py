"""All that an adapter has to show."""

from varco_http.testing._access import AccessContract
from varco_http.testing._answers import AnswersContract
from varco_http.testing._conditions import ConditionsContract
from varco_http.testing._fuzz import FuzzContract
from varco_http.testing._isolation import IsolationContract
from varco_http.testing._keys import IdempotencyContract
from varco_http.testing._lists import ListsContract


class HttpContract(
    AccessContract,
    AnswersContract,
    ConditionsContract,
    FuzzContract,
    IdempotencyContract,
    IsolationContract,
    ListsContract,
):
    """What HTTP clients see of an application, whichever framework serves it.

    Implement `client`; `asgi_client` serves an ASGI application. What is kept is in memory,
    unless `store` is overridden. Every answer of every test is held against the OpenAPI document
    of the application.
    """
