"""Columns that are computed from others, such as ``log10(AVG_SFR) - LOG_MSTAR``: parsed, never executed.

Known are numbers, column names (``column("a-b")`` for names that are no identifiers), ``+ - * / **``, the functions
below and elements of arrays, ``MCMC[:, 0]``. A logarithm or root of what has none is missing.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.data.importing.expressions import Language

__all__ = ["FUNCTIONS", "REDUCTIONS", "evaluate", "formula_columns"]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "log": np.log,
    "log10": np.log10,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
}
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "median": np.nanmedian,
    "mean": np.nanmean,
    "std": np.nanstd,
}
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
ALLOWED = f"columns, numbers, + - * / **, array[0], array[:, 0], {', '.join((*FUNCTIONS, *REDUCTIONS))}, column('name')"
_LANGUAGE = Language("columns:", ALLOWED)


def formula_columns(expression: str) -> dict[str, bool]:
    """Return the columns that a formula reads -> whether it reads them as arrays.

    Raises
    ------
    GalaxybenchError
        If the formula holds anything that is not allowed.
    """
    found: dict[str, bool] = {}
    tree = _LANGUAGE.parse(expression)
    with _LANGUAGE.walking(expression):
        _visit(tree, expression, found, array=False)
    if not found:
        raise _LANGUAGE.refusal(expression, "it names no column")
    return found


def evaluate(expression: str, columns: Mapping[str, NDArray], *, n_axes: int = 1) -> NDArray[np.float64]:
    """Return a formula's value for each row.

    Parameters
    ----------
    expression : e.g. ``median(PROVABGS_MCMC[:, 0])``.
    columns : column -> (n,) numbers, or (n, ...) where the formula takes elements of it.

    n_axes : 1 for a number a row, 2 for a list of numbers a row.

    Returns
    -------
    (n,) or (n, k) float64, NaN where a value is missing or a logarithm or root does not exist.

    Raises
    ------
    GalaxybenchError
        If the formula is not allowed or has no value, or arrays are left where one number a row is needed.
    """
    formula_columns(expression)
    n_rows = len(next(iter(columns.values())))
    with _LANGUAGE.walking(expression), np.errstate(all="ignore"):
        try:
            value = np.asarray(_value(_LANGUAGE.parse(expression), expression, columns), dtype=np.float64)
        except (IndexError, ValueError, ArithmeticError) as error:
            raise _LANGUAGE.refusal(expression, str(error)) from error
    if value.shape[:1] != (n_rows,) or value.ndim != n_axes:
        hint = "take an element or the median" if n_axes == 1 else "a list of draws a row is needed, as in MCMC[:, 0]"
        raise _LANGUAGE.refusal(expression, f"it gives arrays of shape {value.shape[1:]} a row: {hint}")
    return np.where(np.isfinite(value), value, np.nan)


def _column_call(node: ast.expr) -> str | None:
    """The name in ``column("name")``."""
    match node:
        case ast.Call(func=ast.Name(id="column"), args=[ast.Constant(value=str(name))], keywords=[]):
            return name
    return None


def _visit(node: ast.expr, expression: str, found: dict[str, bool], *, array: bool) -> None:
    """Refuse what is not allowed and note the columns; ``array`` is True inside an index or a reduction."""
    name = node.id if isinstance(node, ast.Name) else _column_call(node)
    if name is not None:
        found[name] = found.get(name, False) or array
        return
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.BinOp() if type(node.op) in OPERATORS:
            _visit(node.left, expression, found, array=array)
            _visit(node.right, expression, found, array=array)
        case ast.UnaryOp(op=ast.USub()):
            _visit(node.operand, expression, found, array=array)
        case ast.Subscript():
            _index(node.slice, expression)
            _visit(node.value, expression, found, array=True)
        case ast.Call(func=ast.Name(id=function), args=[argument], keywords=[]) if function in (FUNCTIONS | REDUCTIONS):
            _visit(argument, expression, found, array=array or function in REDUCTIONS)
        case _:
            raise _LANGUAGE.refusal(expression, f"{ast.unparse(node)} is not allowed")


def _index(node: ast.expr, expression: str) -> tuple[int | slice, ...]:
    """Indices of ``[0]`` or ``[:, 0]``."""
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    indices: list[int | slice] = []
    for part in parts:
        match part:
            case ast.Constant(value=int(number)) if not isinstance(number, bool):
                indices.append(number)
            case ast.Slice(lower=None, upper=None, step=None):
                indices.append(slice(None))
            case _:
                raise _LANGUAGE.refusal(expression, f"[{ast.unparse(node)}] is no index")
    return tuple(indices)


def _value(node: ast.expr, expression: str, columns: Mapping[str, NDArray]) -> Any:
    name = node.id if isinstance(node, ast.Name) else _column_call(node)
    if name is not None:
        return columns[name]
    match node:
        case ast.Constant():
            return node.value
        case ast.BinOp():
            left, right = (_value(part, expression, columns) for part in (node.left, node.right))
            if isinstance(node.op, ast.Pow) and isinstance(left, int):
                left = float(left)  # whole numbers have powers without end
            return OPERATORS[type(node.op)](left, right)
        case ast.UnaryOp():
            return -_value(node.operand, expression, columns)
        case ast.Subscript():
            return _value(node.value, expression, columns)[(slice(None), *_index(node.slice, expression))]
        case ast.Call(func=ast.Name(id=function), args=[argument]):
            value = _value(argument, expression, columns)
            if function in FUNCTIONS:
                return FUNCTIONS[function](value)
            if np.ndim(value) < 2:
                raise ValueError(f"{function} needs an array a row")
            return REDUCTIONS[function](np.reshape(value, (len(value), -1)), axis=1)
    raise _LANGUAGE.refusal(expression, f"{ast.unparse(node)} is not allowed")
