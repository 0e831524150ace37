"""Galaxy Zoo votes: what volunteers answer to the ten questions of GZD-5 about a galaxy of given shape.

Each answer has a logit that is linear in a few latents (`TABLE`); a question's probabilities are their softmax. What
can be seen fades with visibility,

    vis = sigmoid(2.6 ln(r_e / (.95 arcsec seeing / 1.2 arcsec))) sigmoid(1.1 (20.2 - r)),

and the latents are multiplied by it, so that small or faint galaxies are called smooth. Answers that are ordered have
logits -.8 ((x - centre) / width)^2; the square of x is common to all and cancels, which leaves them linear too.
Volunteers of one galaxy agree more than chance would have it: a galaxy's probabilities are drawn from Dirichlet(a p),
with an a for every question. Nine in ten galaxies have Poisson(43) volunteers, the rest Poisson(6), at least 3; a
question is put to those who gave the answer it follows from. Coefficients and a were found by random search over the
first 4,000 galaxies of seed 0: the shares of galaxies with three or more votes for a question and the accuracy of the
most probable answer were to be near those of the specification, and each question to have some 110 galaxies in a test
fifth of 4,000 with more than 34 volunteers of whom half were asked (43 instead of 40 is a part of that).

Debiased fractions divide out the mean trend with magnitude: odds are multiplied by exp(slope (vis(r = 17) - vis(r))),
with vis(r) the mean visibility at that magnitude and the slope the answer's mean dependence on it. The galaxy's own
visibility stays in. (Galaxy Zoo debiases against redshift in bins of magnitude and size; Hart et al. 2016, MNRAS 461,
3663.)

References
----------
Walmsley et al. 2022, MNRAS 509, 3966 (arXiv:2102.08414): questions, answers and tree, figure 4.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaincinv, softmax
from scipy.stats import binom, poisson

from benchmark.simulator.appearance import Appearance
from benchmark.simulator.candidates import Candidates
from benchmark.simulator.latents import STREAMS, Block

__all__ = ["PARENTS", "QUESTIONS", "draw_votes", "probabilities", "visibility"]

Array = NDArray[np.float64]

QUESTIONS: dict[str, tuple[str, ...]] = {
    "smooth-or-featured": ("smooth", "featured-or-disk", "artifact"),
    "disk-edge-on": ("yes", "no"),
    "has-spiral-arms": ("yes", "no"),
    "bar": ("strong", "weak", "no"),
    "bulge-size": ("dominant", "large", "moderate", "small", "none"),
    "how-rounded": ("round", "in-between", "cigar-shaped"),
    "edge-on-bulge": ("boxy", "none", "rounded"),
    "spiral-winding": ("tight", "medium", "loose"),
    "spiral-arm-count": ("1", "2", "3", "4", "more-than-4", "cant-tell"),
    "merging": ("none", "minor-disturbance", "major-disturbance", "merger"),
}
PARENTS: dict[str, tuple[str, ...]] = {
    "smooth-or-featured": (),
    "disk-edge-on": ("smooth-or-featured_featured-or-disk",),
    "has-spiral-arms": ("disk-edge-on_no",),
    "bar": ("disk-edge-on_no",),
    "bulge-size": ("disk-edge-on_no",),
    "how-rounded": ("smooth-or-featured_smooth",),
    "edge-on-bulge": ("disk-edge-on_yes",),
    "spiral-winding": ("has-spiral-arms_yes",),
    "spiral-arm-count": ("has-spiral-arms_yes",),
    "merging": ("smooth-or-featured_smooth", "smooth-or-featured_featured-or-disk"),
}
"""The answers whose votes are asked a question; none: every volunteer is."""


def _ordered(latent: str, width: float, centres: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Logits -.8 ((latent - centre) / width)^2 without the common square."""
    return {a: {"one": -0.8 * (c / width) ** 2, latent: 1.6 * c / width**2} for a, c in centres.items()}


TABLE: dict[str, dict[str, dict[str, float]]] = {
    "smooth-or-featured": {
        "smooth": {"one": 0.0},
        "featured-or-disk": {"one": -4.5, "disc": 4.0, "arms": 18.0, "edge": 21.0, "bar": 2.5, "lopsided": 1.5},
        "artifact": {"one": -4.2},
    },
    "disk-edge-on": {"yes": {"one": -2.8, "side": 20.0}, "no": {"one": 0.0}},
    "has-spiral-arms": {"yes": {"one": -1.8, "arms": 12.0, "side": -1.0}, "no": {"one": 0.0}},
    "bar": {"strong": {"one": -2.3, "bar": 5.8}, "weak": {"one": -0.65, "bar": 2.0}, "no": {"one": 0.0}},
    "bulge-size": _ordered(
        "bulge", 0.22, {"dominant": 1.0, "large": 0.7, "moderate": 0.41, "small": 0.13, "none": -0.13}
    ),
    "how-rounded": _ordered("ratio", 0.115, {"round": 0.84, "in-between": 0.71, "cigar-shaped": 0.29}),
    "edge-on-bulge": {
        "boxy": {"one": -1.7, "bar": 1.5},
        "none": {"one": 0.7, "bulge": -1.1},
        "rounded": {"one": 0.0, "bulge": 13.0},
    },
    "spiral-winding": _ordered("pitch", 0.81, {"tight": 1.9, "medium": 3.3, "loose": 3.85}),
    "spiral-arm-count": {
        **{str(k): {"one": -0.2, f"arms_{k}": 2.4} for k in (1, 2, 3, 4)},
        "more-than-4": {"one": -0.2, "arms_5": 2.4},
        "cant-tell": {"one": 0.8},
    },
    "merging": {
        "none": {"one": 3.6},
        "minor-disturbance": {"one": 0.6, "lopsided": 4.0, "merger": 1.5},
        "major-disturbance": {"one": -0.8, "lopsided": 3.0, "merger": 3.5},
        "merger": {"one": -1.2, "merger": 9.0},
    },
}
"""question -> answer -> latent -> coefficient of the logit."""

AGREEMENT: dict[str, float] = {
    "smooth-or-featured": 3.2,
    "disk-edge-on": 3.2,
    "has-spiral-arms": 3.8,
    "bar": 29.0,
    "bulge-size": 11.0,
    "how-rounded": 6.7,
    "edge-on-bulge": 13.0,
    "spiral-winding": 16.0,
    "spiral-arm-count": 16.0,
    "merging": 7.7,
}
"""a of the Dirichlet(a p) from which a galaxy's probabilities are drawn: small where volunteers see the same thing in
a galaxy for reasons that its latents do not hold."""
MANY, FEW, SHARE_MANY, FEWEST = 43.0, 6.0, 0.9, 3.0
REFERENCE_MAG = 17.0
_TREND_MAG = np.array([15.0, 16.0, 17.0, 18.0, 19.0, 20.0])
_TREND_VIS = np.array([0.97, 0.95, 0.87, 0.69, 0.46, 0.25])  # mean visibility of the survey at these r
_COLUMNS = tuple(f"{question}_{answer}" for question, answers in QUESTIONS.items() for answer in answers)
_DRAWS = ("depth", "volunteers", *(f"opinion_{c}" for c in _COLUMNS), *(f"count_{c}" for c in _COLUMNS))


def draw_votes(drawn: Candidates, appearance: Appearance) -> dict[str, NDArray]:
    """Votes on candidates, by column.

    Returns
    -------
    ``<question>_<answer>`` (n,) counts, ``<question>_total`` (n,) their sum, i.e. the votes for the answers in
    `PARENTS`, and ``<question>_<answer>_debiased`` (n,) fractions that sum to 1, NaN where nobody was asked.
    """
    block = Block.at(drawn.seed, drawn.block.candidate, stream=STREAMS["votes"], names=_DRAWS)
    rate = np.where(block.chance("depth", SHARE_MANY), MANY, FEW)
    volunteers = np.maximum(np.asarray(poisson.ppf(block.uniform("volunteers"), rate)), FEWEST)
    votes: dict[str, NDArray] = {}
    debiased: dict[str, NDArray] = {}
    trend = np.interp(REFERENCE_MAG, _TREND_MAG, _TREND_VIS) - np.interp(drawn.mag_r, _TREND_MAG, _TREND_VIS)
    for question, probability in probabilities(drawn, appearance).items():
        columns = [f"{question}_{answer}" for answer in QUESTIONS[question]]
        asked = np.sum([votes[parent] for parent in PARENTS[question]], axis=0) if PARENTS[question] else volunteers
        opinions = np.stack([block.uniform(f"opinion_{column}") for column in columns], axis=1)
        shares = gammaincinv(np.maximum(AGREEMENT[question] * probability, 1e-3), opinions)  # Dirichlet, not normalised
        counts = _multinomial(asked, shares, [block.uniform(f"count_{column}") for column in columns])
        votes |= dict(zip(columns, counts.T))
        votes[f"{question}_total"] = asked
        odds = counts * np.exp(_slopes(question) * trend[:, None])
        with np.errstate(invalid="ignore"):
            fractions = odds / odds.sum(axis=1, keepdims=True)
        debiased |= {f"{c}_debiased": fraction for c, fraction in zip(columns, fractions.T)}
    return {name: value.astype(np.int64) for name, value in votes.items()} | debiased


def probabilities(drawn: Candidates, appearance: Appearance) -> dict[str, Array]:
    """Probability (n, answers) of every answer to every question, given that the question is asked."""
    latents = _latents(drawn, appearance)
    return {question: softmax(_logits(question, latents), axis=1) for question in QUESTIONS}


def visibility(drawn: Candidates, appearance: Appearance) -> Array:
    """(n,) how well structure can be seen, 0 to 1: by size against the seeing in r, and by magnitude."""
    seeing = appearance.conditions.fwhm_arcsec[:, 1] / 1.2
    sharp = expit(2.6 * np.log(appearance.morphology.effective_radius / 0.95 / seeing))
    return sharp * expit(1.1 * (20.2 - drawn.mag_r))


def _latents(drawn: Candidates, appearance: Appearance) -> dict[str, Array]:
    shape, vis = appearance.morphology, visibility(drawn, appearance)
    bulge = shape.bulge_to_total
    from_side = expit((0.34 - shape.disc_ratio) / 0.045)
    return {
        "one": np.ones_like(vis),
        "vis": vis,
        "disc": vis * (1 - bulge),
        "arms": vis * shape.arm_strength * (1 - from_side),
        "edge": vis * from_side * (1 - bulge),
        "side": vis * from_side,
        "bar": vis * shape.bar_share / 0.2,
        "lopsided": vis * shape.lopsided,
        "merger": np.sqrt(vis) * shape.merger_flux,
        "bulge": bulge,
        "ratio": bulge * shape.bulge_ratio + (1 - bulge) * shape.disc_ratio,
        "pitch": np.log(np.degrees(shape.arm_pitch)),
        **{f"arms_{k}": vis * (shape.n_arms == k) for k in range(1, 6)},
    }


def _logits(question: str, latents: Mapping[str, Array]) -> Array:
    rows = (TABLE[question][answer] for answer in QUESTIONS[question])
    return np.stack([np.sum([c * latents[name] for name, c in row.items()], axis=0) for row in rows], axis=1)


_SEEN_PER_VIS = {"vis": 1.0, "disc": 0.6, "arms": 0.15, "edge": 0.15, "side": 0.25, "bar": 0.15, "lopsided": 0.1}


def _slopes(question: str) -> Array:
    """(answers,) mean change of the logits with visibility: latents that scale with it, at their usual sizes."""
    rows = (TABLE[question][answer] for answer in QUESTIONS[question])
    return np.array([sum(c * _SEEN_PER_VIS.get(name, 0.0) for name, c in row.items()) for row in rows])


def _multinomial(n_votes: Array, weights: Array, uniforms: list[Array]) -> Array:
    """Counts (n, answers) that sum to ``n_votes`` (n,): binomials in turn, by inverse distribution functions."""
    left, weight_left = n_votes.copy(), weights.sum(axis=1)
    counts = np.zeros_like(weights)
    last = weights.shape[1] - 1
    for k in range(last):
        share = np.clip(weights[:, k] / np.maximum(weight_left, 1e-300), 0.0, 1.0)
        drawn = np.asarray(binom.ppf(uniforms[k], np.maximum(left, 1), share))
        counts[:, k] = np.where(left > 0, np.clip(drawn, 0, left), 0)
        left = left - counts[:, k]
        weight_left = weight_left - weights[:, k]
    counts[:, last] = left
    return counts
