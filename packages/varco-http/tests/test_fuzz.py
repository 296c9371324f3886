"""Whatever a client sends: an answer, in time that grows as the request does."""

import asyncio
import json
import time
from contextlib import suppress
from copy import deepcopy
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_domain.auth import AuthContext
from varco_domain.memory import InMemoryRepositoryProvider
from varco_http import (
    ApiKeys,
    BearerTokens,
    Callers,
    EntityTag,
    EntityTags,
    HttpError,
    HttpResource,
    Idempotency,
    IdempotencyRecord,
    InvalidRequestError,
    TenantFromHeader,
    asgi_request,
    entity_tag,
    merge_patch,
    page_links,
    parse_entity_tags,
    parse_headers,
    problem_response,
    version_of,
)

TAG = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f'))
TAGS = TAG.map(lambda tag: "".join(c for c in tag if c < "\x7f" or c > "\x7f"))
BLANK = st.sampled_from(["", " ", "\t", " , ", ",,", " ,\t"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.lists(st.tuples(TAGS, st.booleans()), min_size=1, max_size=5), st.data())
def test_a_list_of_tags_is_read_as_it_was_written(listed, data):
    tags = [EntityTag(tag, weak) for tag, weak in listed]
    text = data.draw(BLANK)
    for number, tag in enumerate(tags):
        text += (f",{data.draw(BLANK)}" if number else "") + str(tag)
    text += data.draw(BLANK)
    found = parse_entity_tags(text)
    assert found == EntityTags(tuple(tags))
    for tag in tags:
        assert found.match_weakly(tag.tag)
        assert found.match_strongly(tag.tag) == (EntityTag(tag.tag) in tags)


@given(st.text(max_size=30) | st.text('W/"*, ab\t', max_size=30))
def test_any_text_is_tags_or_refused(text):
    try:
        found = parse_entity_tags(text)
    except InvalidRequestError:
        return
    assert found.any == (text.strip(" \t") == "*")


@given(
    st.one_of(st.integers(), st.text(), st.tuples(st.text(), st.integers())), st.integers(0, 10**17)
)
def test_a_tag_tells_its_version_to_whoever_has_the_key(pk, version):
    tag = entity_tag(pk, version)
    assert parse_entity_tags(f'"{tag}"') == EntityTags((EntityTag(tag),))
    assert version_of(tag, pk) == version
    assert version_of(tag, ("another", pk)) is None
    assert version_of(f"0{tag}", pk) is None


@given(st.text(max_size=20), st.integers(0, 9))
def test_a_tag_that_is_none_of_ours_has_no_version(text, number):
    found = version_of(text, number)
    assert found is None or entity_tag(number, found) == text


def by_the_rfc(target, patch):
    """The pseudo-code of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = by_the_rfc(result.get(name), value)
    return result


@given(JSON, JSON)
def test_a_patch_is_that_of_the_rfc_and_changes_nothing_in_place(target, patch):
    kept = deepcopy((target, patch))
    merged = merge_patch(target, patch)
    assert merged == by_the_rfc(target, patch)
    assert (target, patch) == kept
    assert merge_patch(merged, patch) == merged
    if isinstance(target, dict):
        assert merge_patch(target, {}) == target


def test_a_deep_patch_takes_no_recursion():
    patch = {}
    for _ in range(50_000):
        patch = {"a": patch}
    merged = merge_patch({}, patch)
    depth = 0
    while merged:
        merged, depth = merged["a"], depth + 1
    assert depth == 50_000
    while patch:  # freed level by level
        patch = patch["a"]


PAIRS = st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5)


@given(PAIRS, st.text(st.characters(codec="utf-8")), st.from_regex(r"[\w~-]+", fullmatch=True))
def test_a_link_leads_to_the_same_query_from_the_cursor_on(pairs, path, cursor):
    pairs = [(n, t) for n, t in pairs if n != "cursor" and (n + t).isprintable()]
    target = "/" + quote(path.strip("/"), safe="/")
    header = page_links(target, pairs, following=cursor, first=True)
    assert header.isascii()
    assert header.isprintable()
    links = header.split(", <")
    assert len(links) == 2
    for link, expected in zip(links, [[*pairs, ("cursor", cursor)], pairs], strict=True):
        url = link.removeprefix("<").partition(">")[0]
        found = parse_qsl(urlsplit("http://h" + url).query, keep_blank_values=True)
        assert found == expected
        assert link.endswith(('; rel="next"', '; rel="first"'))


TEXT = st.binary(max_size=40) | st.text(max_size=20).map(
    lambda text: text.encode("utf-8", "replace")
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "if-match",
            "if-none-match",
            "idempotency-key",
            "content-type",
            "authorization",
            "x-tenant",
        ]
    ),
    TEXT | st.sampled_from([b"*", b'"1.1"', b"application/json", b"Bearer x", b"acme"]),
    max_size=3,
)
QUERY = TEXT | st.builds(
    lambda name, value: name + b"=" + value,
    st.sampled_from([b"filter", b"sort", b"limit", b"cursor", b"fields", b"total"]),
    TEXT.map(lambda raw: quote(raw).encode()),
)
BODY = (
    TEXT
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(
            ["title", "body", "points", "key", "name", "settings", "filter", "limit", "op"]
        ),
        JSON,
    ).map(lambda value: json.dumps(value).encode())
)
KEYS = st.text(max_size=12) | st.sampled_from(["1", "2", "-1", "9223372036854775808", "1.0"])


async def find(key):
    return {"k": AuthContext("ann")}.get(key)


class Refuses:
    def verify(self, token):
        error = HttpError("no")
        error.http_status = 401
        raise error


@given(
    st.integers(0, 30),
    HEADERS,
    QUERY | st.just(b""),
    BODY,
    st.tuples(KEYS | st.just("1"), KEYS | st.just("1")),
)
def test_any_bytes_give_an_answer_below_500(tracker, number, headers, query, body, keys):
    Projects, Tickets = tracker.Projects, tracker.Tickets  # noqa: N806
    store = InMemoryRepositoryProvider(tracker.Project, tracker.Ticket, IdempotencyRecord)
    idempotency = Idempotency(store)
    projects = HttpResource(Projects, "/projects", idempotency=idempotency)
    tickets = HttpResource(Tickets, "/tickets", parent=projects, idempotency=idempotency)
    services = {each: each(store, tracker.Everything()) for each in (Projects, Tickets)}
    endpoints = projects.endpoints + tickets.endpoints
    endpoint = endpoints[number % len(endpoints)]
    names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    scope = {
        "method": endpoint.method,
        "path": "/projects/" + "/".join(keys),
        "query_string": query,
        "headers": [(name.encode(), value) for name, value in headers.items()],
    }
    callers = Callers(BearerTokens(Refuses()), ApiKeys(find), anonymous=True)

    async def run():
        project = Projects.types.create(key="A", name="a", settings={"a": {"b": 1}})
        await services[Projects].create(project)
        await services[Tickets].create(Tickets.types.create(project_id=1, title="t"))
        try:
            request = asgi_request(
                scope,
                body,
                path_params=dict(zip(names, keys, strict=False)),
                ctx=AuthContext("ann"),
            )
            await callers.identify(request.headers)
            await Callers(
                ApiKeys(find), tenant=TenantFromHeader(claim="t"), anonymous=True
            ).identify({n: v for n, v in request.headers.items() if n == "x-tenant"} or {})
        except HttpError as error:
            if error.http_status != 403:
                return problem_response(error, instance=scope["path"])
        return await endpoint.handle(request, services.__getitem__)

    answer = asyncio.run(run())
    assert 200 <= answer.status < 500
    for name, value in answer.headers:
        assert name == name.lower()
        assert value.isprintable()
    if answer.status >= 400:
        assert answer.header("content-type") == "application/problem+json"
        assert json.loads(answer.body)["status"] == answer.status
    elif answer.body:
        json.loads(answer.body)


@pytest.mark.parametrize(
    "read",
    [
        *(
            lambda n, make=make: parse_entity_tags(make(n))
            for make in (
                lambda n: '"a",' * n,
                lambda n: " " * n + '"a"' + " " * n,
                lambda n: "," * n + "x",
                lambda n: "W/" * n,
                lambda n: '"' + "a" * n,
                lambda n: '"a" ' * n,
                lambda n: '"a"' + " ," * n + "x",
            )
        ),
        lambda n: page_links("/a", [("filter", "a&=%" * n)], following="x"),
        lambda n: merge_patch({}, {str(each): {"a": None} for each in range(n)}),
        lambda n: version_of("9" * n, 1),
        *(
            lambda n, make=make: asgi_request(
                {"method": "GET", "path": "/", "query_string": make(n), "headers": []}
            )
            for make in (lambda n: b"a=" + b"%41" * n, lambda n: b"a&" * n)
        ),
        lambda n: asgi_request(
            {"method": "GET", "path": "/", "query_string": b"", "headers": [(b"a", b"b" * n)]}
        ),
        lambda n: parse_headers([(b"%d" % each, b"b") for each in range(n)]),
    ],
)
def test_eight_times_the_input_takes_at_most_24_times_the_cpu(read):
    def cpu(length):
        found = []
        for _ in range(3):
            before = time.process_time()
            with suppress(HttpError):
                read(length)
            found.append(time.process_time() - before)
        return min(found)

    assert cpu(80_000) <= 24 * max(cpu(10_000), 0.001)  # what is squared takes 64 times as much
