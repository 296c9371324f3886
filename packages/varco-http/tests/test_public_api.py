import inspect

import pytest

import varco_http


def test_all_names_exist_and_are_documented():
    assert isinstance(varco_http.__all__, tuple)
    assert len(set(varco_http.__all__)) == len(varco_http.__all__)
    for name in varco_http.__all__:
        value = getattr(varco_http, name)
        assert name.isupper() or value.__doc__ or name in {"Handler", "ServiceOf"}, name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Nothing'"):
        _ = varco_http.Nothing


def test_errors_say_what_they_are():
    for name in varco_http.__all__:
        value = getattr(varco_http, name)
        if isinstance(value, type) and issubclass(value, varco_http.HttpError):
            assert value.code.startswith("http.")
            assert isinstance(value.http_status, int)


def test_the_options_are_those_of_the_resource():
    parameters = inspect.signature(varco_http.HttpResource).parameters.values()
    own = {each.name: each.annotation for each in parameters if each.kind is each.KEYWORD_ONLY}
    options = inspect.get_annotations(varco_http.ResourceOptions)
    assert own.keys() == options.keys()
    texts = {name: str(each).replace("ForwardRef(", "").strip(")") for name, each in own.items()}
    assert {n: t for n, t in texts.items() if n != "parent"} == {
        n: str(t) for n, t in options.items() if n != "parent"
    }
