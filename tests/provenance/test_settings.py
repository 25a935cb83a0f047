from dataclasses import dataclass

import pytest

from spine_models.provenance.settings import settings_from


@dataclass(frozen=True)
class Inner:
    rate: float


@dataclass(frozen=True)
class Outer:
    inner: Inner
    sizes: tuple[int, ...]
    name: str = "x"
    limits: tuple[int, int] | None = None


def test_nested_values_get_their_types():
    settings = settings_from(Outer, {"inner": {"rate": 1}, "sizes": [1, 2]})
    assert settings == Outer(Inner(1.0), (1, 2))
    assert isinstance(settings.inner.rate, float)


@pytest.mark.parametrize("limits", [None, [0, 1]])
def test_a_list_becomes_a_tuple_where_there_may_be_none(limits):
    settings = settings_from(Outer, {"inner": {"rate": 1.0}, "sizes": [], "limits": limits})
    assert settings.limits == (None if limits is None else (0, 1))


@pytest.mark.parametrize("config", [{"inner": {"rate": 1.0}}, {"inner": {"rat": 1.0}, "sizes": []}])
def test_missing_and_unknown_keys_are_loud(config):
    with pytest.raises(TypeError):
        settings_from(Outer, config)


@dataclass(frozen=True)
class Optional:
    sizes: tuple[float, ...] | None = None


def test_an_optional_value_gets_its_type_or_stays_none():
    assert settings_from(Optional, {"sizes": [1, 2.5]}) == Optional((1.0, 2.5))
    assert settings_from(Optional, {"sizes": None}) == Optional(None)
