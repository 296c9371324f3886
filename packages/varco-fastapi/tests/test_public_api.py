import varco_fastapi


def test_all_names_exist_and_are_documented():
    assert isinstance(varco_fastapi.__all__, tuple)
    for name in varco_fastapi.__all__:
        assert getattr(varco_fastapi, name).__doc__ or name == "CallerOf", name
