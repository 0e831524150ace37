"""Computed columns: what they may say, and their values beside numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.formula import evaluate, formula_columns

COLUMNS = {
    "a": np.array([1.0, 4.0, 100.0]),
    "b": np.array([2.0, 0.0, 5.0]),
    "x-y": np.array([3.0, 3.0, 4.0]),
    "mcmc": np.arange(24.0).reshape(3, 4, 2),
    "flux": np.arange(6.0).reshape(3, 2),
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + 2 * b - 1", [4, 3, 109]),
        ("log10(a) - b", [-2, np.log10(4), -3]),
        ("-a ** 0.5", [-1, -2, -10]),
        ("sqrt(abs(-a)) / exp(0 * a)", [1, 2, 10]),
        ("column('x-y') * a", [3, 12, 400]),
        ("flux[1]", [1, 3, 5]),
        ("median(mcmc[:, 0])", [3, 11, 19]),
        ("std(mcmc[:, 1])", [np.std([1, 3, 5, 7])] * 3),
        ("mean(mcmc)", [3.5, 11.5, 19.5]),
        ("median(log(mcmc[:, 0] + 1))", np.median(np.log(COLUMNS["mcmc"][:, :, 0] + 1), axis=1)),
    ],
)
def test_formulas_have_the_values_that_numpy_gives(expression: str, expected: list[float]) -> None:
    np.testing.assert_allclose(evaluate(expression, COLUMNS), expected, rtol=1e-14)


def test_what_has_no_logarithm_is_missing() -> None:
    np.testing.assert_array_equal(evaluate("log10(b)", COLUMNS), [np.log10(2), np.nan, np.log10(5)])
    np.testing.assert_array_equal(evaluate("a / b", COLUMNS), [0.5, np.nan, 20])


def test_columns_are_known_as_numbers_or_arrays() -> None:
    assert formula_columns("log10(a) + median(mcmc[:, 0]) - flux[2]") == {"a": False, "mcmc": True, "flux": True}


@pytest.mark.parametrize(
    "expression",
    ["__import__('os')", "a.real", "open('x')", "log(a, b)", "a if b else a", "flux[b]", "flux[1:2]", "[a]", "'a'",
     "1 + 2", "a @ b", "lambda: a", "f'{a}'", "log10(x=a)", "column(a)", "a and b", "(" * 300 + "a" + ")" * 300, "a +"],
)  # fmt: skip
def test_nothing_else_is_a_formula(expression: str) -> None:
    with pytest.raises(GalaxybenchError, match="allowed: columns, numbers"):
        evaluate(expression, COLUMNS)


@pytest.mark.parametrize("expression", ["flux * 1", "mcmc[:, 0]", "flux[7]", "median(a)"])
def test_arrays_where_one_number_is_needed_are_refused(expression: str) -> None:
    with pytest.raises(GalaxybenchError, match="columns: "):
        evaluate(expression, COLUMNS)


@pytest.mark.parametrize("expression", ["-" * 1900 + "a", "a+" * 900 + "a"])
def test_a_formula_nested_too_deeply_is_refused(expression: str) -> None:
    with pytest.raises(GalaxybenchError, match="nested too deeply"):
        evaluate(expression, {"a": np.ones(2)})


@pytest.mark.parametrize("expression", ["a + 10**10**8", "a + 1 / 0"])
def test_a_number_that_does_not_exist_is_refused_at_once(expression: str) -> None:
    with pytest.raises(GalaxybenchError, match=r"out of range|division by zero"):
        evaluate(expression, {"a": np.ones(2)})
