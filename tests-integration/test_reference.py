"""What `scripts/reference.py --check` refuses."""

from dataclasses import replace

import pytest
import reference


@pytest.fixture(scope="module")
def package():
    return next(each for each in reference.packages() if each.name == "varco-fastapi")


def told(package, **changes):
    return list(reference.problems(replace(package, **changes)))


def grouped(package, *names):
    first, *rest = package.groups
    return [replace(first, names=[*first.names, *names]), *rest]


def test_the_grouping_is_whole(package):
    assert told(package) == []


def test_a_name_in_no_group(package):
    assert told(package, groups=package.groups[:-1], five=[*package.five[:4], "lifespan"])[:3] == [
        "varco_fastapi.CallerOf stands in no group",
        "varco_fastapi.current_caller stands in no group",
        "varco_fastapi.service_of stands in no group",
    ]


def test_an_old_name_stands_in_no_group(package):
    assert told(package, old=["lifespan"]) == ["lifespan is old, and stands in a group"]


def test_a_name_in_two_groups(package):
    (problem,) = told(package, groups=grouped(package, "lifespan"))
    assert problem.startswith("lifespan stands in two groups: Make an application of services; Add")


def test_a_name_that_is_not_there(package):
    assert told(package, groups=grouped(package, "make_ap")) == [
        "Make an application of services: varco_fastapi has no public name make_ap"
    ]


def test_five_names(package):
    assert told(package, five=[*package.five[:3], "nothing"]) == [
        "nothing, one of the five, stands in no group",
        "the five are 4",
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no docstring"),
        ("x" * 101, "101 characters"),
        ("Return the name.", "not `Return the ...`"),
        ("The ``name``.", "written otherwise"),
    ],
)
def test_a_first_line_that_cannot_stand_alone(line, why):
    assert why in (reference.unclear(line) or "")


def test_a_first_line_that_can():
    assert reference.unclear("The name of a model.") is None
