"""The flow probe on photometry contexts."""

from __future__ import annotations

import numpy as np

from baselines.photometry import photometry_context
from benchmark.heads.flow import FlowHead


def test_a_band_that_training_galaxies_hardly_ever_miss_does_not_cost_a_galaxy_its_density() -> None:
    # two of 400: the column that marks the gap lies 14 standard deviations out. Whitened, it once took a real galaxy
    # to -54,310 nats in one member, and the mean over members of 81 galaxies to 168 a target
    rng = np.random.default_rng(7)
    n, n_test = 500, 50
    target = rng.normal(size=(n, 2))
    slopes = rng.normal(size=(2, 11))
    magnitudes = (21 + target @ slopes + rng.normal(0, 0.2, (n, 11))).astype(np.float32)
    magnitudes[rng.random(n) < 0.5, 0] = np.nan  # one band is often missing, as in any survey
    magnitudes[:2, 7] = np.nan
    test = np.arange(n - n_test, n)
    magnitudes[test, 7] = np.nan
    context = photometry_context(magnitudes)
    train, validation = np.arange(400), np.arange(400, n - n_test)
    head = FlowHead(members=2, epochs=15)
    limits = [(None, None)] * 2
    head.fit(context[train], target[train], validation=(context[validation], target[validation]), limits=limits, seed=0)
    found = head.member_log_prob(target[test], context[test])
    # a standard normal density, which knows nothing of the galaxy, has -2.8 in the mean and -9 for the farthest of 50
    assert found.min() > -30
    assert found.mean() > -4
