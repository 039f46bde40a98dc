import pytest

from lrisc.errors import InputError
from lrisc.link.budget import parse_cbr, symbol_budget


@pytest.mark.parametrize(
    ("text", "value"),
    [("1/48", 1 / 48), ("0.017", 0.017), ("1e-2", 0.01), (" 1 / 48 ", 1 / 48), ("0,017", 0.017),
     ("2 %", 0.02), ("2,5%", 0.025)],
)  # fmt: skip
def test_cbr_as_fraction_or_number(text: str, value: float) -> None:
    assert parse_cbr(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "a", "1/0", "0", "-1/48", "nan", "inf", "1/48/2", "1,000,1", "2%%", "%2", "%", "0 %"],
)
def test_cbr_that_is_none(text: str) -> None:
    with pytest.raises(InputError):
        parse_cbr(text)


def test_budget_is_a_floor_that_rounding_does_not_lower() -> None:
    assert symbol_budget(1 / 48, 64, 64) == 256
    assert symbol_budget(0.0209, 64, 64) == 256
