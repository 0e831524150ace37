"""What a flow ensemble is made of and how it is trained: one frozen dataclass, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np

from posteriors.flows.recipes import RECIPES, SIZES, Recipe, Size

__all__ = ["FlowEnsembleConfig"]

_RECIPE_VALUE: Any = None  # a field left at this takes the value its recipe gives

_BACKENDS = {"stacked": ("default", "coupling", "paper"), "nflows": ("default", "coupling", "paper"), "pyro": ("code",)}
_DTYPES = ("float32", "float64")
_WEIGHTS = ("uniform", "stacked")
_RANGES = ("n_couplings", "hidden")
_FLAGS = ("average", "shared_batches", "faithful")


@dataclass(frozen=True)
class FlowEnsembleConfig:
    """Configuration of a `FlowEnsemble`.

    Fields left at None take the value of the recipe when the configuration is made, and keep it. Some may stay None,
    as they follow the rows of a fit: ``batch_size``; with ``default`` also ``weight_decay``, and where none of them is
    given the size of a fit, ``n_couplings``, ``hidden``, ``epochs``, ``learning_rate`` and ``max_steps``. The
    configuration of a fitted ensemble holds what was chosen (`posteriors.flows.pilots`), so that a record says all of
    what was used.

    Attributes
    ----------
    recipe : ``"default"``: scaled principal components of the context, marginal splines, conditional affine map, two
        couplings, cosine schedule. ``"coupling"``: three plain couplings on the whole standardised context with early
        stopping, the baseline that ``default`` is compared with. ``"paper"``: AstroCLIP as its text says, couplings of
        random depth and width. ``"code"``: AstroCLIP as released, pyro's elementwise splines; its density is a product
        of marginals.
    backend : ``"stacked"``: all members in one set of tensors, trained and evaluated together. ``"nflows"``: one
        nflows module for each member, one after another; the reference, equal in meaning and several times slower.
        ``"pyro"``: pyro's transforms, for ``code`` and only for it.
    members : number of flows of the mixture.
    weights : of the members in the mixture: ``"uniform"``, or ``"stacked"``, those with the lowest NLL on the
        validation rows, see `posteriors.flows.mixture_weights.stacked_weights`.
    n_components : most principal components of the context that ``default`` sees.
    n_couplings : rational-quadratic couplings of a member (default 2, large 6; coupling 3), or a pair from which each
        member's number is drawn, both ends included (paper 3 to 6; code 2 to 3 layers of splines); a single target has
        nothing to be coupled with and gets one spline of the context.
    hidden : width of the couplings' residual networks (default 32, large 64; coupling 64), or a pair (paper 32 to 128;
        code 16 to 32, uniform in the logarithm).
    affine_hidden : tanh units of the conditional affine map of ``default``.
    n_blocks : gated residual blocks of each coupling's network; not used by ``code``, whose networks have three layers.
    n_bins : bins of every spline, 2 to 100.
    tail_bound : splines act inside [-tail_bound, tail_bound] in standardised units and are the identity outside
        (5; code 3).
    epochs : most passes over the training rows (default 30, large 60; coupling 100; paper 500; code 25).
    batch_size : rows of a step (paper, code 128); None: an eighth of the training rows, between 32 and 128; with
        ``default`` 512 from 10,000 rows on.
    learning_rate : of AdamW (default 1.5e-2, large 5e-3; coupling 2e-3; paper and code 5e-4).
    weight_decay : of AdamW, on what makes a member more than a Gaussian that is linear in the context (default 0.1, and
        from 8,000 training rows on 0.1 or 1; others 0). With 1 or more, members of ``default`` start as that Gaussian
        (`posteriors.flows.linear_start`).
    max_steps : most optimiser steps of a member; with many rows the epochs are cut down to it, and the cosine
        schedule of ``default`` with them (default 1,500, large 4,000; coupling 10,000; paper and code a million).
    patience : training stops after so many epochs without a better validation NLL (coupling 4; paper 20); ``default``
        runs its schedule to the end, 0; ``code`` stops after epoch 11 where the NLL is above the mean of its last 5.
    average : each epoch offers the running average of the weights over the last 50 steps, not the weights themselves
        (default True; others False).
    shared_batches : all members see the same batches, not shuffles of their own (coupling True; others False).
    dtype : ``"float32"`` or ``"float64"``, of the weights and of every pass.
    faithful : ``code`` keeps the slips of the released loop: the last weights instead of the best, and a validation
        NLL that is a mean of batch means over the number of another loader's batches.

    Raises
    ------
    ValueError
        For an unknown recipe or backend and for numbers out of range.

    References
    ----------
    Parker et al. 2024, AstroCLIP, arXiv:2310.03024, appendix B6, and its released code.
    """

    recipe: Recipe = "default"
    backend: Literal["stacked", "nflows", "pyro"] = _RECIPE_VALUE
    members: int = 10
    weights: Literal["uniform", "stacked"] = "uniform"
    n_components: int = 64
    n_couplings: int | tuple[int, int] = _RECIPE_VALUE
    hidden: int | tuple[int, int] = _RECIPE_VALUE
    affine_hidden: int = 64
    n_blocks: int = 1
    n_bins: int = 8
    tail_bound: float = _RECIPE_VALUE
    epochs: int = _RECIPE_VALUE
    batch_size: int | None = None
    learning_rate: float = _RECIPE_VALUE
    weight_decay: float | None = _RECIPE_VALUE
    max_steps: int = _RECIPE_VALUE
    patience: int = _RECIPE_VALUE
    average: bool = _RECIPE_VALUE
    shared_batches: bool = _RECIPE_VALUE
    dtype: Literal["float32", "float64"] = "float32"
    faithful: bool = False

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe {self.recipe!r}: allowed are {', '.join(map(repr, RECIPES))}")
        self._fill_in()
        self._check_names()
        if not self.has_open_size:
            self._check_size()
        for name in ("members", "n_components", "affine_hidden", "n_blocks"):
            _check_integer(name, getattr(self, name), 1)
        _check_integer("patience", self.patience, 0)
        _check_integer("n_bins", self.n_bins, 2)
        if self.n_bins > 100:
            raise ValueError(f"n_bins = {self.n_bins}: 2 to 100 are allowed")
        if self.batch_size is not None:
            _check_integer("batch_size", self.batch_size, 2)
        _check_number("tail_bound", self.tail_bound, 1.0)
        if self.weight_decay is not None:
            _check_number("weight_decay", self.weight_decay, 0.0)

    def _fill_in(self) -> None:
        values = RECIPES[self.recipe]
        if self.recipe == "default" and any(getattr(self, name) is not None for name in SIZES["small"]):
            values = values | SIZES["small"]
        for name, value in values.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def _check_size(self) -> None:
        for name in _RANGES:
            object.__setattr__(self, name, _check_range(name, getattr(self, name)))
        for name in ("epochs", "max_steps"):
            _check_integer(name, getattr(self, name), 1)
        _check_number("learning_rate", self.learning_rate, 0.0)
        if self.learning_rate == 0:
            raise ValueError("learning_rate = 0: nothing would be learned; give a positive number")

    def _check_names(self) -> None:
        for name, allowed in (("backend", _BACKENDS), ("dtype", _DTYPES), ("weights", _WEIGHTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}: allowed are {', '.join(map(repr, allowed))}")
        if self.recipe not in _BACKENDS[self.backend]:
            fitting = [name for name, recipes in _BACKENDS.items() if self.recipe in recipes]
            raise ValueError(
                f"backend {self.backend!r} has no recipe {self.recipe!r}: allowed are {', '.join(map(repr, fitting))}"
            )
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} = {getattr(self, name)!r}: True or False is needed")
        if self.faithful and self.recipe != "code":
            raise ValueError(f"faithful = True with recipe {self.recipe!r}: only 'code' has slips to keep")

    @property
    def has_open_size(self) -> bool:
        """Whether the rows of a fit decide on its size."""
        return all(getattr(self, name) is None for name in SIZES["small"])

    def of_size(self, size: Size) -> Self:
        """The configuration with a size of ``default``, "small" or "large", where it has none."""
        return replace(self, **SIZES[size]) if self.has_open_size else self

    def member(self, seed: int) -> Self:
        """The configuration of one member: numbers in place of the pairs, drawn with the seed."""
        rng = np.random.default_rng(seed)
        drawn: dict[str, Any] = {}
        for name in _RANGES:
            value = getattr(self, name)
            if isinstance(value, tuple):
                low, high = value
                drawn[name] = int(rng.integers(low, high + 1))
                if self.recipe == "code" and name == "hidden":
                    drawn[name] = math.ceil(math.exp(rng.uniform(math.log(low), math.log(high))))
        return replace(self, **drawn) if drawn else self

    def to_dict(self) -> dict[str, Any]:
        """All fields as a dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
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


def _check_range(name: str, value: Any) -> int | tuple[int, int]:
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError(f"{name} = {value!r}: an integer or a pair of integers is needed")
        low, high = value
        _check_integer(f"lower end of {name}", low, 1)
        _check_integer(f"upper end of {name}", high, low)
        return low, high
    _check_integer(name, value, 1)
    return int(value)


def _check_integer(name: str, value: object, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise ValueError(f"{name} = {value!r}: an integer of at least {lowest} is needed")


def _check_number(name: str, value: object, lowest: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < lowest:
        raise ValueError(f"{name} = {value!r}: a finite number of at least {lowest:g} is needed")
