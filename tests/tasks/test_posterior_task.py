"""The posterior task on posteriors whose verdict is known: exact, narrow, wide, shifted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from benchmark.artefacts import Posterior
from benchmark.contracts import GalaxybenchError, Score
from benchmark.tasks import posterior
from posteriors.calibration.hpd import hpd_ranks
from posteriors.scores.density import cde_loss_per_galaxy, pit_values

N, N_DRAWS, N_RESAMPLES, NOISE = 600, 300, 300, 0.3
NAMES = ("z", "log10_mstar")


def make(width: float = 1.0, shift: float = 0.0, scale: float = 1.0, seed: int = 0, n: int = N) -> Posterior:
    """Truths scattered by NOISE about known means; a posterior of the right width times ``width``, plus ``shift``."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 1, (n, 2))
    truth = mean + NOISE * rng.normal(size=(n, 2))
    spread = NOISE * width
    draws = mean + shift * NOISE + spread * rng.normal(size=(N_DRAWS, n, 2))
    log_prob = norm.logpdf(truth, mean + shift * NOISE, spread).sum(axis=1) - 2 * np.log(scale)
    member = np.stack([log_prob, log_prob])
    return Posterior(
        np.arange(n), list(NAMES), truth * scale, (draws * scale).astype(np.float32), member, 2 * np.log(scale)
    )


def scores_of(evidence: Posterior, scale: float = 1.0) -> dict[tuple[str, str], Score]:
    training = np.random.default_rng(9).normal(0, (1 + NOISE**2) ** 0.5, (2_000, 2)) * scale
    scores, _ = posterior.score(evidence, training, ranked=NAMES, seed=5, n_resamples=N_RESAMPLES)
    return {(score.metric, score.target): score for score in scores}


def test_an_exact_posterior_passes_every_test() -> None:
    scores = scores_of(make())
    assert scores["tarp_p", "joint"].value > 0.01
    assert scores["tarp_width_p", "joint"].value > 0.01
    for name in NAMES:
        # a share of 600 galaxies has a standard error of .019 at 68 % and .009 at 95 %
        assert scores["coverage_68", name].value == pytest.approx(0.68, abs=0.06)
        assert scores["coverage_95", name].value == pytest.approx(0.95, abs=0.03)
        assert scores["pit_ks", name].value < 1.36 / N**0.5 * 1.3


def test_a_narrow_and_a_wide_posterior_fail_in_width() -> None:
    narrow, wide = scores_of(make(width=0.6)), scores_of(make(width=1.7))
    for scores in (narrow, wide):
        assert scores["tarp_width_p", "joint"].value < 1e-3
    assert narrow["coverage_68", "mean"].ci_high < 0.68 < wide["coverage_68", "mean"].ci_low
    assert narrow["coverage_95", "mean"].ci_high < 0.95 < wide["coverage_95", "mean"].ci_low


def test_a_shifted_posterior_fails_in_its_ranks() -> None:
    scores = scores_of(make(shift=0.7))
    assert scores["pit_ks", "z"].ci_low > 0.1
    assert scores["nll_mixture", "joint"].value > scores_of(make())["nll_mixture", "joint"].ci_high


def test_the_likelihood_is_that_of_the_known_density() -> None:
    score = scores_of(make())["nll_mixture", "joint"]
    exact = 2 * (0.5 * np.log(2 * np.pi * NOISE**2) + 0.5)  # entropy of the noise, both targets
    assert score.value == pytest.approx(exact, abs=4 * (1 / N) ** 0.5)  # sd of -log p over galaxies is 1 nat
    assert score.ci_low < exact < score.ci_high
    assert score.value < score.floor


def test_per_dimension_likelihood_does_not_depend_on_the_unit() -> None:
    plain, scaled = scores_of(make()), scores_of(make(scale=1_000.0), scale=1_000.0)
    assert plain["nll_per_dim", "joint"].value == pytest.approx(scaled["nll_per_dim", "joint"].value, abs=1e-9)
    assert plain["nll_per_dim", "joint"].floor == pytest.approx(scaled["nll_per_dim", "joint"].floor, abs=1e-6)
    shift = scaled["nll_mixture", "joint"].value - plain["nll_mixture", "joint"].value
    assert shift == pytest.approx(2 * np.log(1_000.0))


def test_the_floor_of_a_posterior_is_the_marginal_of_the_training_targets() -> None:
    evidence = make()
    scores = scores_of(evidence)
    spread = (1 + NOISE**2) ** 0.5
    exact = -norm.logpdf(evidence.truth, 0, spread).sum(axis=1).mean()
    # a kernel estimate smooths the marginal by Scott's factor, 2000^(-1/6) = .28 of its width
    assert scores["nll_mixture", "joint"].floor == pytest.approx(exact, abs=0.1)
    assert scores["coverage_68", "z"].floor == pytest.approx(0.68, abs=0.06)
    assert scores["crps", "z"].floor > 2 * scores["crps", "z"].value


def test_draws_without_densities_have_no_likelihood_but_all_the_rest() -> None:
    known = make()
    scores = scores_of(Posterior(known.target_id, known.names, known.truth, known.draws))
    assert not [metric for metric, _ in scores if metric.startswith("nll")]
    assert {metric for metric, _ in scores} == set(posterior.TASK.metrics) - {
        "nll_mixture",
        "nll_member_mean",
        "nll_per_dim",
        "nll_stacked",
        "cde_loss",
        "hpd_ks",
        "nll_ceiling",  # nor are there errors of the labels
    }


def with_density(width: float = 1.0, n: int = N) -> Posterior:
    """A posterior with what the run keeps of its density at draws, and weights for one of three members."""
    evidence = make(width=width, n=n)
    rng, spread = np.random.default_rng(0), NOISE * width
    mean = rng.normal(0, 1, (n, 2))  # as `make` draws them
    at_draws = norm.logpdf(evidence.draws[:50], mean, spread).sum(axis=2)
    right = evidence.member_log_prob[0]
    return replace(
        evidence,
        member_log_prob=np.stack([right, right - 3, right - 5]),
        stacked_weights=np.array([1.0, 0.0, 0.0]),
        hpd_rank=hpd_ranks(right, at_draws),
        cde_loss=cde_loss_per_galaxy(right, at_draws),
    )


def test_stacked_weights_have_a_row_of_their_own_below_the_ranked_one() -> None:
    found = scores_of(with_density())
    stacked, mixture = found["nll_stacked", "joint"], found["nll_mixture", "joint"]
    gain = np.log(3 / (1 + np.exp(-3) + np.exp(-5)))
    assert mixture.value - stacked.value == pytest.approx(gain, abs=1e-9)
    assert stacked.floor == mixture.floor
    assert posterior.TASK.headline == ("nll_mixture", "joint")


def test_density_loss_and_ranks_in_density_tell_a_right_posterior_from_a_wrong_width() -> None:
    right = scores_of(with_density())
    # of a Gaussian p, the integral of p^2 is 1 / (4 pi sigma^2) in two dimensions, and E p(truth) the same
    exact = -1 / (4 * np.pi * NOISE**2)
    assert right["cde_loss", "joint"].value == pytest.approx(exact, rel=0.15)  # 600 galaxies know it to 5 %
    assert right["cde_loss", "joint"].value < right["cde_loss", "joint"].floor < 0
    assert right["hpd_ks", "joint"].value < 1.36 / N**0.5 * 1.3
    for width in (0.6, 1.7):
        wrong = scores_of(with_density(width))
        assert wrong["cde_loss", "joint"].value > right["cde_loss", "joint"].value
        assert wrong["hpd_ks", "joint"].ci_low > right["hpd_ks", "joint"].value
    assert right["hpd_ks", "joint"].floor < 1.36 / N**0.5 * 1.6  # the marginal is a calibrated posterior, smoothed


def test_widths_and_scores_of_each_bin_are_those_of_its_galaxies() -> None:
    """Half the width for the faint: conformal intervals, which know the whole sample alone, widen all alike."""
    magnitude = np.random.default_rng(3).uniform(16, 20, N)
    faint = (magnitude > np.median(magnitude))[:, None]

    def uneven(seed: int) -> Posterior:
        draws = np.where(faint, make(width=0.5, seed=seed).draws, make(seed=seed).draws).astype(np.float32)
        return replace(make(seed=seed), draws=draws)

    known = uneven(1)
    evidence = replace(
        uneven(2),
        magnitude=magnitude,
        magnitude_name="mag_r",
        validation_pit=pit_values(known.truth, known.draws),
        cde_loss=np.where(faint[:, 0], 2.0, -1.0),
    )
    spread = np.array([2.0, 0.5])
    training = np.random.default_rng(9).normal(size=(2_000, 2))
    training = (training - training.mean(0)) / training.std(0) * spread
    _, details = posterior.score(evidence, training, ranked=NAMES, seed=5, n_resamples=10)
    shown = details["scores_in_bins"]
    assert (shown["by"], shown["n_calibration"]) == ("mag_r", N)
    rows = {(row["target"], number % 4): row for number, row in enumerate(shown["bins"])}
    assert set(rows) == {(name, number) for name in (*NAMES, "joint") for number in range(4)}
    for scale, name in zip(spread, NAMES, strict=True):
        for number, width in enumerate((1, 1, 0.5, 0.5)):
            row = rows[name, number]
            assert row["n"] == N // 4
            assert row["sharpness_68"][0] == pytest.approx(2 * 0.9945 * NOISE * width / scale, rel=0.04)
            assert row["conformal_68"][0] > 1.1 * row["sharpness_68"][0]
            # sigma / sqrt(pi) of a right Gaussian, .610 sigma of one of half the width: 150 galaxies know it to 6 %
            assert row["crps"][0] == pytest.approx({1: 0.564, 0.5: 0.610}[width] * NOISE / scale, rel=0.25)
            assert row["crps"][1] < 0.1 * row["crps"][0]
    for number, loss in enumerate((-1.0, -1.0, 2.0, 2.0)):
        assert rows["joint", number]["cde_loss"] == [loss, 0.0]
        assert rows["joint", number]["energy_score"][0] > 0
    _, plain = posterior.score(make(), training, ranked=NAMES, seed=5, n_resamples=10)
    assert plain["scores_in_bins"]["n_calibration"] == 0
    assert not any("conformal_68" in row for row in plain["scores_in_bins"]["bins"])
    assert "scores_in_bins" not in posterior.score(make(n=60), training, ranked=NAMES, seed=5, n_resamples=10)[1]


def test_every_interval_holds_its_value() -> None:
    for score in scores_of(make()).values():
        assert score.ci_low <= score.value <= score.ci_high, score


def test_the_page_gets_the_coverage_curve() -> None:
    evidence = make()
    _, details = posterior.score(evidence, evidence.truth, ranked=NAMES, seed=5, n_resamples=10)
    curve = details["coverage_curve"]
    assert curve["credibility"][0] == 0
    assert curve["ecp"][-1] == 1
    assert np.all(np.asarray(curve["ecp_low"]) <= np.asarray(curve["ecp_high"]))


def test_a_posterior_wrong_for_the_faint_is_named_in_the_details() -> None:
    magnitude = np.random.default_rng(3).uniform(16, 20, N)
    right, narrow = make(), make(width=0.5)
    faint = magnitude > np.quantile(magnitude, 0.75)
    draws = np.where(faint[:, None], narrow.draws, right.draws).astype(np.float32)
    evidence = replace(right, draws=draws, magnitude=magnitude, magnitude_name="mag_r")
    _, details = posterior.score(evidence, evidence.truth, ranked=NAMES, seed=5, n_resamples=10)
    conditional = details["conditional"]
    assert conditional["by"] == "mag_r"
    assert conditional["p_value"] < 1e-3
    assert [(row["target"], row["bin"]) for row in conditional["bins"]] == [
        (name, i) for name in NAMES for i in range(4)
    ]
    for row in conditional["bins"]:
        assert row["n"] == N // 4
        assert (row["p_adjusted"] < 1e-3) == (row["bin"] == 3)
    assert set(details["rank_ecdf_p"]) == set(NAMES)
    assert 0.5 < details["power"]["probability"] < 1


def test_without_magnitudes_the_bins_are_of_what_is_predicted() -> None:
    evidence = make()
    _, details = posterior.score(evidence, evidence.truth, ranked=NAMES, seed=5, n_resamples=10)
    assert details["conditional"]["by"] == "predicted z"
    assert details["conditional"]["p_value"] > 0.01


def test_every_target_has_its_own_tests_and_its_width() -> None:
    scores = scores_of(make())
    for name in NAMES:
        assert scores["tarp_p", name].value > 0.001
        # the central 68 % of a Gaussian
        assert scores["sharpness_68", name].value == pytest.approx(2 * 0.9945 * NOISE, rel=0.02)
    exact, narrow = scores["energy_score", "joint"], scores_of(make(width=0.4))["energy_score", "joint"]
    assert exact.value < narrow.value
    assert exact.value < 0.5 * exact.floor


def test_magnitudes_travel_with_the_artefact(tmp_path) -> None:
    evidence = replace(make(n=60), magnitude=np.linspace(15, 20, 60), magnitude_name="mag_r")
    read = Posterior.read(evidence.write(tmp_path / "draws.npz"))
    np.testing.assert_array_equal(read.magnitude, evidence.magnitude)
    assert read.select(["z"]).magnitude_name == "mag_r"
    density = with_density(n=60)
    again = Posterior.read(density.write(tmp_path / "density.npz"))
    for name in ("stacked_weights", "hpd_rank", "cde_loss"):
        np.testing.assert_array_equal(getattr(again, name), getattr(density, name))
        assert getattr(again.select(["z"]), name) is None  # they are of both targets
    assert Posterior.read(make(n=60).write(tmp_path / "plain.npz")).magnitude is None


def test_too_few_galaxies_are_refused() -> None:
    with pytest.raises(GalaxybenchError, match="49 test galaxies have every default target"):
        scores_of(make(n=49))


def test_targets_without_a_joint_density_are_named_as_such() -> None:
    evidence = make()
    collinear = np.repeat(evidence.truth[:, :1], 2, axis=1)
    with pytest.raises(GalaxybenchError, match=r"collinear or repeat each other.*joint = false"):
        posterior.score(evidence, collinear, ranked=NAMES, seed=5, n_resamples=10)


def with_validation(width: float, n: int = 600) -> Posterior:
    """A posterior of some width with the PIT that it has on galaxies of another seed."""
    validation = make(width=width, seed=1, n=n)
    return replace(make(width=width), validation_pit=pit_values(validation.truth, validation.draws))


@pytest.mark.parametrize("width", [0.6, 1.6])
def test_a_wrong_width_is_mended_by_the_validation_galaxies_and_both_are_shown(width: float) -> None:
    evidence = with_validation(width)
    training = np.random.default_rng(9).normal(0, (1 + NOISE**2) ** 0.5, (2_000, 2))
    found, details = posterior.score(evidence, training, ranked=NAMES, seed=5, n_resamples=N_RESAMPLES)
    raw, mended = (
        {(score.metric, score.target): score for score in found if score.condition == condition}
        for condition in (None, "recalibrated")
    )
    assert set(raw) - set(mended) == {(f"nll_{name}", "joint") for name in ("mixture", "member_mean", "per_dim")}
    assert raw["tarp_width_p", "joint"].value < 1e-3 < mended["tarp_width_p", "joint"].value
    for name in NAMES:
        assert abs(raw["coverage_68", name].value - 0.68) > 0.1
        # the shares of 600 test and of 600 validation galaxies scatter by .019 each
        assert mended["coverage_68", name].value == pytest.approx(0.68, abs=0.08)
        assert mended["pit_ks", name].value < raw["pit_ks", name].value
        assert mended["crps", name].value < raw["crps", name].value
    assert details["recalibrated"]["n_calibration"] == 600
    if width > 1:  # beyond the draws of a narrow posterior there is nothing to map to
        assert min(details["recalibrated"]["rank_ecdf_p"].values()) > max(details["rank_ecdf_p"].values())


def test_recalibration_reads_nothing_of_the_test_galaxies_and_needs_validation_galaxies() -> None:
    evidence = with_validation(0.6)
    training = evidence.truth
    moved = replace(evidence, truth=evidence.truth + 0.1)
    widths = [
        [
            score.value
            for score in posterior.score(each, training, ranked=NAMES, seed=5, n_resamples=10)[0]
            if score.metric == "sharpness_68" and score.condition == "recalibrated"
        ]
        for each in (evidence, moved)
    ]
    assert widths[0] == widths[1] != []
    for pit in (None, evidence.validation_pit[:49]):
        found, details = posterior.score(
            replace(evidence, validation_pit=pit), training, ranked=NAMES, seed=5, n_resamples=10
        )
        assert {score.condition for score in found} == {None}
        assert "recalibrated" not in details


def test_many_validation_galaxies_mend_the_faint_without_spoiling_the_bright() -> None:
    """Half the width in the faint half only: what one correction for all cannot mend."""

    def uneven(seed: int, n: int) -> Posterior:
        right, narrow = make(seed=seed, n=n), make(width=0.5, seed=seed, n=n)
        magnitude = np.random.default_rng(seed + 7).uniform(16, 20, n)
        draws = np.where((magnitude > 18)[:, None], narrow.draws, right.draws).astype(np.float32)
        return replace(right, draws=draws, magnitude=magnitude, magnitude_name="mag_r")

    validation, test = uneven(1, 2_400), uneven(2, 1_200)
    pit = pit_values(validation.truth, validation.draws)
    coverage = []
    for magnitude in (None, validation.magnitude):
        evidence = replace(test, validation_pit=pit, validation_magnitude=magnitude)
        _, details = posterior.score(evidence, test.truth, ranked=NAMES, seed=5, n_resamples=10)
        rows = details["recalibrated"]["conditional"]["bins"]
        coverage.append([row["coverage_68"] for row in rows if row["target"] == "z"])
    assert coverage[0][0] > 0.75  # made too wide by the faint ones' narrowness
    assert coverage[0][3] < 0.6
    # 300 test galaxies and 600 validation galaxies a bin: a standard error of .033
    assert coverage[1] == pytest.approx([0.68] * 4, abs=0.11)
