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
