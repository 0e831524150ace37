"""What a flow ensemble is made of and how it is trained: one frozen dataclass, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

__all__ = ["FlowEnsembleConfig"]

_RECIPE_VALUE: Any = None  # a field left at this takes the value its recipe gives below

_RECIPES: dict[str, dict[str, Any]] = {
    "default": {
        "n_couplings": 2,
        "hidden": 32,
        "epochs": 30,
        "learning_rate": 3e-2,
        "weight_decay": 0.1,
        "max_steps": 1_500,
        "patience": 0,
        "average": True,
        "shared_batches": False,
    },
    "coupling": {
        "n_couplings": 3,
        "hidden": 64,
        "epochs": 100,
        "learning_rate": 2e-3,
        "weight_decay": 0.0,
        "max_steps": 10_000,
        "patience": 4,
        "average": False,
        "shared_batches": True,
    },
}
_BACKENDS = ("stacked", "nflows")
_DTYPES = ("float32", "float64")
_AT_LEAST_ONE = (
    "members",
    "n_components",
    "n_couplings",
    "hidden",
    "affine_hidden",
    "n_blocks",
    "epochs",
    "max_steps",
)


@dataclass(frozen=True)
class FlowEnsembleConfig:
    """Configuration of a `FlowEnsemble`.

    Every field whose default is None is filled in with the value of its recipe, so that a configuration read back
    from a record says all of what was used (only ``batch_size`` may stay None: it follows the number of rows).

    Attributes
    ----------
    recipe : ``"default"``: scaled principal components of the context, marginal splines, conditional affine map, two
        couplings, cosine schedule. ``"coupling"``: three plain couplings on the whole standardised context with early
        stopping, the baseline that ``default`` is compared with.
    backend : ``"stacked"``: all members in one set of tensors, trained and evaluated together. ``"nflows"``: one
        nflows module for each member, one after another; the reference, equal in meaning and several times slower.
    members : number of flows, equally weighted in the mixture.
    n_components : most principal components any member of ``default`` sees.
    n_couplings : rational-quadratic couplings of a member (default 2; coupling 3); a single target has nothing to be
        coupled with and gets one spline of the context.
    hidden : width of the couplings' residual networks (default 32; coupling 64).
    affine_hidden : tanh units of the conditional affine map of ``default``.
    n_blocks : gated residual blocks of each coupling's network.
    n_bins : bins of every spline, 2 to 100.
    tail_bound : splines act inside [-tail_bound, tail_bound] in standardised units and are the identity outside.
    epochs : most passes over the training rows (default 30; coupling 100).
    batch_size : rows of a step; None: an eighth of the training rows, between 32 and 128; with ``default`` 256 from
        2,000 rows on and 512 from 10,000.
    learning_rate, weight_decay : of AdamW (default 3e-2, 0.1; coupling 2e-3, 0).
    max_steps : most optimiser steps of a member; with many rows the epochs are cut down to it, and the cosine
        schedule of ``default`` with them (default 1,500; coupling 10,000).
    patience : ``coupling`` stops after so many epochs without a better validation NLL (4); ``default`` runs its
        schedule to the end, 0.
    shared_batches : all members see the same batches, not shuffles of their own (default False; coupling True).
    dtype : ``"float32"`` or ``"float64"``, of the weights and of every pass.
    average : each epoch offers the running average of the weights over the last 50 steps, not the weights themselves
        (default True; coupling False).

    Raises
    ------
    ValueError
        For an unknown recipe or backend and for numbers out of range.
    """

    recipe: Literal["default", "coupling"] = "default"
    backend: Literal["stacked", "nflows"] = "stacked"
    members: int = 10
    n_components: int = 64
    n_couplings: int = _RECIPE_VALUE
    hidden: int = _RECIPE_VALUE
    affine_hidden: int = 64
    n_blocks: int = 1
    n_bins: int = 8
    tail_bound: float = 5.0
    epochs: int = _RECIPE_VALUE
    batch_size: int | None = None
    learning_rate: float = _RECIPE_VALUE
    weight_decay: float = _RECIPE_VALUE
    max_steps: int = _RECIPE_VALUE
    patience: int = _RECIPE_VALUE
    average: bool = _RECIPE_VALUE
    shared_batches: bool = _RECIPE_VALUE
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        if self.recipe not in _RECIPES:
            raise ValueError(f"recipe {self.recipe!r}: allowed are {', '.join(map(repr, _RECIPES))}")
        for name, allowed in (("backend", _BACKENDS), ("dtype", _DTYPES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}: allowed are {', '.join(map(repr, allowed))}")
        for name, value in _RECIPES[self.recipe].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in _AT_LEAST_ONE:
            _check_integer(name, getattr(self, name), 1)
        _check_integer("patience", self.patience, 0)
        _check_integer("n_bins", self.n_bins, 2)
        if self.n_bins > 100:
            raise ValueError(f"n_bins = {self.n_bins}: 2 to 100 are allowed")
        for name in ("average", "shared_batches"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} = {getattr(self, name)!r}: True or False is needed")
        if self.batch_size is not None:
            _check_integer("batch_size", self.batch_size, 2)
        for name, lowest in (("tail_bound", 1.0), ("learning_rate", 0.0), ("weight_decay", 0.0)):
            _check_number(name, getattr(self, name), lowest)
        if self.learning_rate == 0:
            raise ValueError("learning_rate = 0: nothing would be learned; give a positive number")

    def to_dict(self) -> dict[str, Any]:
        """All fields as a dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FlowEnsembleConfig:
        """The inverse of `to_dict`; unknown keys are refused.

        Raises
        ------
        ValueError
            If a key is unknown or a value is out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"flow ensemble options {', '.join(unknown)}: allowed are {', '.join(sorted(known))}")
        return cls(**values)


def _check_integer(name: str, value: object, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise ValueError(f"{name} = {value!r}: an integer of at least {lowest} is needed")


def _check_number(name: str, value: object, lowest: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < lowest:
        raise ValueError(f"{name} = {value!r}: a finite number of at least {lowest:g} is needed")
