import copy
import pickle

import pytest

from varco_query import (
    AndNode,
    ComparisonNode,
    InvalidNodeError,
    NotNode,
    Operation,
    OrNode,
    QueryBuilder,
    QueryParams,
)


def eq(field, value):
    return ComparisonNode(field, Operation.EQUAL, value)


A, B, C = eq("a", 1), eq("b", 2), eq("c", 3)


def test_the_readme_form():
    params = QueryParams(
        node=QueryBuilder().eq("published", True).and_().gt("pk", 10).build(), limit=20, offset=0
    )
    assert params.node == AndNode(
        eq("published", True), ComparisonNode("pk", Operation.GREATER_THAN, 10)
    )


def test_words_join_like_the_language():
    built = QueryBuilder().eq("a", 1).or_().eq("b", 2).and_().eq("c", 3).build()
    assert built == OrNode(A, AndNode(B, C))


def test_terms_without_a_word_are_joined_by_and():
    assert QueryBuilder().eq("a", 1).eq("b", 2).build() == AndNode(A, B)


def test_whole_queries_are_joined_as_wholes():
    either = QueryBuilder().eq("a", 1).or_().eq("b", 2)
    assert either.and_(QueryBuilder().eq("c", 3)).build() == AndNode(OrNode(A, B), C)
    assert either.or_(C).build() == OrNode(OrNode(A, B), C)
    assert QueryBuilder().and_(either).build() == OrNode(A, B)


def test_not_negates_what_is_there_or_what_comes():
    assert QueryBuilder().eq("a", 1).eq("b", 2).not_().build() == NotNode(AndNode(A, B))
    assert QueryBuilder().eq("a", 1).and_().not_().eq("b", 2).build() == AndNode(A, NotNode(B))
    assert QueryBuilder().not_().eq("a", 1).eq("b", 2).build() == AndNode(NotNode(A), B)
    assert QueryBuilder().eq("a", 1).not_(B).build() == AndNode(A, NotNode(B))


def test_a_builder_can_be_shared():
    base = QueryBuilder().eq("a", 1)
    assert base.eq("b", 2).build() == AndNode(A, B)
    assert base.or_().eq("c", 3).build() == OrNode(A, C)
    assert base.build() == A


def test_nothing_added_is_no_filter():
    assert QueryBuilder().build() is None


@pytest.mark.parametrize(
    "unfinished",
    [
        lambda: QueryBuilder().eq("a", 1).and_().build(),
        lambda: QueryBuilder().not_().build(),
        lambda: QueryBuilder().or_(),
        lambda: QueryBuilder().eq("a", 1).and_().or_(),
        lambda: QueryBuilder().eq("a", 1).and_(QueryBuilder()),
        lambda: QueryBuilder().not_(QueryBuilder()),
    ],
)
def test_a_word_without_a_term_is_an_error(unfinished):
    with pytest.raises(InvalidNodeError, match="term"):
        unfinished()


def test_ten_thousand_terms():
    builder = QueryBuilder()
    for pk in range(10_000):
        builder = builder.eq("pk", pk)
    assert len(builder.build().children) == 10_000
    assert copy.deepcopy(builder) is copy.copy(builder) is builder
    assert pickle.loads(pickle.dumps(builder)).build() == builder.build()
    assert repr(builder).startswith("QueryBuilder(ComparisonNode('pk', =, 0), ")
    negated = builder
    for _ in range(5_000):
        negated = negated.not_()
    assert pickle.loads(pickle.dumps(negated)).build() == negated.build()


def test_a_builder_that_is_not_finished_can_be_pickled_and_shown():
    builder = QueryBuilder().eq("a", 1).or_().not_()
    assert repr(builder) == "QueryBuilder(ComparisonNode('a', =, 1), or, not)"
    again = pickle.loads(pickle.dumps(builder))
    assert again.eq("b", 2).build() == builder.eq("b", 2).build() == OrNode(A, NotNode(B))
    assert pickle.loads(pickle.dumps(QueryBuilder())).build() is None


def test_a_builder_begins_with_a_node():
    assert QueryBuilder(A).eq("b", 2).build() == AndNode(A, B)
    with pytest.raises(InvalidNodeError, match="QueryParser"):
        QueryBuilder("a = 1")
