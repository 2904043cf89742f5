"""Values from a command line take the kind of their default, or are refused."""

import pytest

from ecgrepro.errors import InputError
from ecgrepro.parameters import fitted


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("false", True, False),
        ("True", False, True),
        ("5", 3, 5),
        (5.0, 3, 5),
        (5, 0.5, 5.0),
        ("1e-3", 0.5, 0.001),
        (5, "demo", "5"),
        ("soft_infonce", ["a"], ["soft_infonce"]),
        ("[a, b]", ["c"], ["a", "b"]),
        ("[]", ["c"], []),
        ("16", [8], [16]),
        ("{a: 1}", {}, {"a": 1}),
        ("anything", None, "anything"),
    ],
)
def test_values_take_the_kind_of_their_default(value: object, default: object, expected: object):
    found = fitted("x", value, default)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "default"),
    [(5.5, 3), ("5.5", 3), (True, 3), ("yes please", True), (1, True), ("many", 0.5)],
)
def test_values_of_another_kind_are_refused(value: object, default: object):
    with pytest.raises(InputError, match="Parameter x is"):
        fitted("x", value, default)


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert fitted("release", "~/ptbxl", "") == "/somewhere/ptbxl"
