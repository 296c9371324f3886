import varco_litestar


def test_all_names_exist_and_are_documented():
    assert isinstance(varco_litestar.__all__, tuple)
    for name in varco_litestar.__all__:
        assert getattr(varco_litestar, name).__doc__, name
