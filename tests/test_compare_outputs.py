"""The comparison that guards every chapter must itself be able to fail."""

import pytest

from tests import portable
from tests.compare_outputs import alike, printed


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("C-index 0.58", "C-index 0.59"),
        ("<td>0.580</td>", "<td>0.581</td>"),
        ("loss 1.25e-04", "loss 1.26e-04"),
        ("−0.01 (95 %)", "0.00 (95 %)"),
        ("a   1.0\n---  ---", "a 1.0\n----- ---"),
    ],
)
def test_last_printed_place_may_move(one: str, two: str):
    assert alike(one, two)
    assert printed(one, False) == printed(two, False)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("C-index 0.58", "C-index 0.60"),
        ("1,234 records", "1,235 records"),
        ("shape (12, 512)", "shape (12, 256)"),
        ("contains 0.5", "EXCLUDES 0.5"),
        ("version 0.1.0", "version 0.2.0"),
        ("0.58 0.61", "0.58"),
        ("0.58", "nan"),
        ("1", "1.0"),
        ("<td>0.58</td>", "<th>0.58</th>"),
    ],
)
def test_everything_else_must_be_equal(one: str, two: str):
    assert not alike(one, two)
    assert printed(one, False) != printed(two, False)


def test_trained_numbers_have_room_and_no_more():
    assert alike("C-index 0.58 (above)", "C-index 0.66 (below)", trained=True)
    assert alike("ratio 2.62", "ratio 3.12", trained=True)
    assert not alike("C-index 0.58", "C-index 0.80", trained=True)
    assert not alike("n = 120, 0.58", "n = 121, 0.58", trained=True)
    assert not alike("fine-tuned 0.58", "from scratch 0.58", trained=True)


def test_a_numeric_part_that_was_renamed_is_missed(monkeypatch: pytest.MonkeyPatch):
    assert any(path.endswith("test_losses.py") for path in portable.numeric_tests())
    monkeypatch.setattr(portable, "NUMERIC", ["models", "objectives"])
    with pytest.raises(FileNotFoundError, match="objectives"):
        portable.numeric_tests()
