"""Galaxy Zoo votes: counts add up along the tree, probabilities follow shapes, debiasing removes a trend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.simulator import SimulatedCatalogue
from benchmark.simulator.appearance import Appearance, draw_appearance
from benchmark.simulator.candidates import Candidates, draw_candidates
from benchmark.simulator.pack import TemplatePack, load_pack
from benchmark.simulator.votes import AGREEMENT, PARENTS, QUESTIONS, TABLE, draw_votes, probabilities, visibility

Drawn = tuple[Candidates, Appearance]


@pytest.fixture(scope="module")
def some(pack: TemplatePack) -> Drawn:
    drawn = draw_candidates(21, 0, 6000, pack)
    drawn = drawn.take(drawn.kept)
    return drawn, draw_appearance(drawn, pack)


def changed(some: Drawn, **shape: object) -> Drawn:
    drawn, appearance = some
    return drawn, replace(appearance, morphology=replace(appearance.morphology, **shape))  # type: ignore[arg-type]


def share(drawn: Drawn, question: str, answer: str) -> np.ndarray:
    return probabilities(*drawn)[question][:, QUESTIONS[question].index(answer)]


def test_the_questions_are_those_of_gzd5() -> None:
    assert len(QUESTIONS) == 10
    assert sum(len(answers) for answers in QUESTIONS.values()) == 34
    assert {question: tuple(rows) for question, rows in TABLE.items()} == QUESTIONS
    for question, parents in PARENTS.items():
        for parent in parents:
            asked, answer = parent.split("_")
            assert answer in QUESTIONS[asked]
            assert list(QUESTIONS).index(asked) < list(QUESTIONS).index(question)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), first=st.integers(0, 10**8), n=st.integers(1, 60))
def test_counts_add_up_along_the_tree(seed: int, first: int, n: int) -> None:
    pack = load_pack()
    drawn = draw_candidates(seed, first, n, pack)
    votes = draw_votes(drawn, draw_appearance(drawn, pack))
    for question, answers in QUESTIONS.items():
        counts = np.stack([votes[f"{question}_{answer}"] for answer in answers])
        total = votes[f"{question}_total"]
        assert counts.dtype == total.dtype == np.int64
        assert counts.shape == (len(answers), n)
        assert (counts >= 0).all()
        assert (counts.sum(axis=0) == total).all()
        if PARENTS[question]:
            assert (total == sum(votes[parent] for parent in PARENTS[question])).all()
        else:
            assert (total >= 3).all()
        fractions = np.stack([votes[f"{question}_{answer}_debiased"] for answer in answers])
        assert np.isnan(fractions).all(axis=0).tolist() == (total == 0).tolist()
        assert fractions[:, total > 0].sum(axis=0) == pytest.approx(1.0)
        assert (fractions[:, total > 0] >= 0).all()


def test_votes_are_the_galaxys_own(some: Drawn, pack: TemplatePack) -> None:
    drawn, appearance = some
    whole = draw_votes(drawn, appearance)
    rows = np.array([2, 50, 51, 300])
    part = draw_votes(drawn.take(rows), draw_appearance(drawn.take(rows), pack))
    for name, column in whole.items():
        assert np.array_equal(part[name], column[rows], equal_nan=True), name


def test_volunteers_agree_with_the_probabilities_on_average(some: Drawn) -> None:
    votes, expected = draw_votes(*some), probabilities(*some)
    for question, answers in QUESTIONS.items():
        total = votes[f"{question}_total"]
        asked = total >= 3
        counts = np.stack([votes[f"{question}_{answer}"] for answer in answers], axis=1)[asked]
        p, n = expected[question][asked], total[asked][:, None]
        # a Dirichlet multinomial: variance of a fraction p (1 - p) / n (n + a) / (1 + a)
        variance = p * (1 - p) / n * (n + AGREEMENT[question]) / (1 + AGREEMENT[question])
        pull = (counts / n - p).sum(axis=0) / np.sqrt(variance.sum(axis=0))
        # being asked depends on earlier opinions, which are independent of this question's
        assert np.abs(pull).max() < 4.5, question


def test_enough_volunteers_look_at_most_galaxies(catalogue: SimulatedCatalogue) -> None:
    volunteers = catalogue.frame["smooth-or-featured_total"]
    assert volunteers.min() == 3
    # Poisson(43) exceeds 34 in 91 % of galaxies, and nine in ten are of that kind
    assert np.mean(volunteers > 34) == pytest.approx(0.9 * 0.908, abs=4 * 0.45 / np.sqrt(4000))


def test_usable_fractions_are_near_those_of_the_specification(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame
    expected = dict(zip(QUESTIONS, (1.0, 0.57, 0.41, 0.41, 0.41, 0.75, 0.21, 0.24, 0.24, 0.99)))
    for question, fraction in expected.items():
        # .03 from n; edge-on bulges have .1 more, as edge-on and spiral discs each must be a seventh of all galaxies
        assert np.mean(frame[f"{question}_total"] >= 3) == pytest.approx(fraction, abs=0.12), question
    assert np.mean(frame["smooth-or-featured_smooth"] > frame["smooth-or-featured_featured-or-disk"]) == pytest.approx(
        0.66, abs=0.14
    )


def test_every_question_can_be_judged_in_a_survey_of_4000(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame[catalogue.frame["split"] == "test"]
    volunteers = frame["smooth-or-featured_total"]
    for question in QUESTIONS:
        judged = (volunteers > 34) & (frame[f"{question}_total"] >= 0.5 * volunteers)
        assert judged.sum() >= 100, question


def test_votes_leave_room_between_majority_and_ceiling(some: Drawn) -> None:
    votes, expected = draw_votes(*some), probabilities(*some)
    volunteers = votes["smooth-or-featured_total"]
    for question in ("smooth-or-featured", "disk-edge-on", "has-spiral-arms", "bar", "how-rounded", "spiral-winding"):
        judged = (volunteers > 34) & (votes[f"{question}_total"] >= 0.5 * volunteers)
        counts = np.stack([votes[f"{question}_{answer}"] for answer in QUESTIONS[question]], axis=1)[judged]
        label, best = counts.argmax(axis=1), expected[question][judged].argmax(axis=1)
        majority = np.bincount(label).max() / len(label)
        assert majority + 0.03 < np.mean(label == best) < 0.99, question


def test_galaxies_that_are_larger_or_brighter_are_seen_better(some: Drawn) -> None:
    drawn, appearance = some
    before = visibility(drawn, appearance)
    shape = appearance.morphology
    larger = visibility(*changed(some, effective_radius=1.5 * shape.effective_radius))
    brighter = visibility(replace(drawn, mag_r=drawn.mag_r - 0.5), appearance)
    seeing = replace(appearance.conditions, fwhm_arcsec=1.3 * appearance.conditions.fwhm_arcsec)
    blurred = visibility(drawn, replace(appearance, conditions=seeing))
    assert (larger > before).all()
    assert (brighter > before).all()
    assert (blurred < before).all()
    assert (before > 0).all()
    assert (before < 1).all()


@pytest.mark.parametrize(
    ("name", "value", "question", "answer"),
    [
        ("arm_strength", 1.0, "smooth-or-featured", "featured-or-disk"),
        ("arm_strength", 1.0, "has-spiral-arms", "yes"),
        ("bar_share", 0.2, "bar", "strong"),
        ("disc_ratio", 0.15, "disk-edge-on", "yes"),
        ("disc_ratio", 0.15, "how-rounded", "cigar-shaped"),
        ("bulge_to_total", 0.9, "bulge-size", "dominant"),
        ("bulge_to_total", 0.9, "edge-on-bulge", "rounded"),
        ("bulge_to_total", 0.9, "smooth-or-featured", "smooth"),
        ("arm_pitch", np.radians(40.0), "spiral-winding", "loose"),
        ("n_arms", 4.0, "spiral-arm-count", "4"),
        ("n_arms", 5.0, "spiral-arm-count", "more-than-4"),
        ("merger_flux", 0.9, "merging", "merger"),
        ("lopsided", 0.7, "merging", "minor-disturbance"),
    ],
)
def test_shapes_move_the_votes_their_way(some: Drawn, name: str, value: float, question: str, answer: str) -> None:
    calm = changed(some, merger_flux=np.zeros(len(some[0])), lopsided=np.zeros(len(some[0])))
    before = share(calm, question, answer)
    moved = share(changed(calm, **{name: np.full(len(some[0]), value)}), question, answer)
    already = getattr(calm[1].morphology, name)
    differs = np.abs(already - value) > 1e-9
    assert (moved[differs] >= before[differs] - 1e-12).mean() > 0.93  # arms may be hidden, bulges larger already
    assert moved[differs].mean() > before[differs].mean() + 0.02


def test_debiased_fractions_lose_the_trend_with_magnitude(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame
    bright, faint = frame["mag_r"].between(16.5, 18), frame["mag_r"].between(19.3, 20.1)
    raw = frame["smooth-or-featured_featured-or-disk"] / frame["smooth-or-featured_total"]
    debiased = frame["smooth-or-featured_featured-or-disk_debiased"]
    trend = raw[bright].mean() - raw[faint].mean()
    assert trend > 0.2
    assert abs(debiased[bright].mean() - debiased[faint].mean()) < 0.5 * trend
    assert np.corrcoef(raw, debiased)[0, 1] > 0.8
