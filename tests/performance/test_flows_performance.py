"""Flow ensembles beside nflows' modules and AstroCLIP's pyro loop, in one process: ``tox -e benchmark``.

Ours and the peer run in turn; ``extra_info`` holds the median of their ratios and the ratio that is wanted. No time is
asserted. Meant for one thread each, OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from posterior_problem import Split, make_problem
from published_flows import (
    draw_galaxy_by_galaxy,
    make_nflows,
    nflows_step,
    released_loop,
    train_nflows,
)

from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.flows.nflows_flows import make_flow
from posteriors.flows.stacked import FlowStack

MEMBERS = 10
PAIRS = 5
COUPLING = FlowEnsembleConfig(recipe="coupling", members=MEMBERS, batch_size=128)


def fit(train: Split, held: Split, config: FlowEnsembleConfig, seed: int = 0) -> FlowEnsemble:
    """An ensemble on the rows of a problem."""
    validation = (held.context, held.target)
    return FlowEnsemble.fit(train.context, train.target, config=config, seed=seed, validation=validation)


def seconds_of(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def report(benchmark, pairs: list[tuple[float, float]], wanted: float, **facts: object) -> None:
    """Store the median ratio of (ours, peer) seconds with its range."""
    ratios = [theirs / ours for ours, theirs in pairs]
    benchmark.extra_info |= {
        "peer_seconds": round(statistics.median(theirs for _, theirs in pairs), 4),
        "peer_over_ours": round(statistics.median(ratios), 2),
        "range": [round(min(ratios), 2), round(max(ratios), 2)],
        "wanted": wanted,
        **facts,
    }


def test_a_step_beside_nflows_member_after_member(benchmark) -> None:
    """Ten members of recipe ``coupling``, batch 128, 512 context columns."""
    train, _, _ = make_problem()
    rows = torch.arange(128)
    with torch.random.fork_rng(devices=[]):
        stack = FlowStack([make_flow(COUPLING, 5, 512) for _ in range(MEMBERS)])
    weights = stack.leaves()
    optimiser = torch.optim.AdamW(list(weights.values()), lr=2e-3, weight_decay=0.0, fused=True)
    flows = [make_nflows(512, seed) for seed in range(MEMBERS)]
    optimisers = [torch.optim.AdamW(flow.parameters(), lr=2e-3, weight_decay=0.0, fused=True) for flow in flows]

    def ours() -> None:
        loss = -stack.log_prob(train.target[rows], train.context[rows], weights).mean(1).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def peer() -> None:
        for flow, own in zip(flows, optimisers, strict=True):
            nflows_step(flow, own, train.target[rows], train.context[rows])

    peer()
    benchmark.pedantic(ours, rounds=20, warmup_rounds=3)

    def several(step: Callable[[], None]) -> float:
        """Steps follow one another, as in a training: the first after the peer's finds nothing in the cache."""
        step()
        return seconds_of(lambda: [step() for _ in range(5)])

    report(benchmark, [(several(ours), several(peer)) for _ in range(2 * PAIRS)], wanted=4)


def test_a_fit_beside_nflows_member_after_member(benchmark) -> None:
    """Recipe ``coupling`` to the end of its early stopping; nflows trains two of the ten members, times five."""
    train, held, _ = make_problem()

    def peer(seed: int) -> float:
        flows = [make_nflows(512, seed + index) for index in range(2)]
        return seconds_of(
            lambda: [train_nflows(flow, train, held, batch_size=128, patience=4, seed=seed) for flow in flows]
        )

    benchmark.pedantic(lambda: fit(train, held, COUPLING), rounds=1)
    pairs = [
        (seconds_of(lambda seed=seed: fit(train, held, COUPLING, seed)), MEMBERS / 2 * peer(seed))  # type: ignore[misc]
        for seed in range(PAIRS)
    ]
    report(benchmark, pairs, wanted=3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_beside_the_released_loop(benchmark, seed: int) -> None:
    """Time to the loop's own best validation NLL, which a fit of one epoch beats; then both to the end."""
    train, held, test = make_problem(seed)
    flows, theirs = released_loop(train, held, test, members=MEMBERS, seed=seed)
    released = _mixture_nll(flows, train, held), _mixture_nll(flows, train, test)
    quick = FlowEnsembleConfig(members=MEMBERS, epochs=1)
    early = [seconds_of(lambda: fit(train, held, quick, seed)) for _ in range(PAIRS)]
    reached = -fit(train, held, quick, seed).log_prob(held.target, held.context).mean()
    assert reached < released[0]
    whole = FlowEnsembleConfig(members=MEMBERS)
    start = time.perf_counter()
    ensemble = benchmark.pedantic(lambda: fit(train, held, whole, seed), rounds=1)
    full = time.perf_counter() - start
    nll = -ensemble.log_prob(test.target, test.context).mean()
    report(
        benchmark,
        [(ours, theirs) for ours in early],
        wanted=20,
        validation_nll={"released": round(released[0], 3), "one epoch": round(float(reached), 3)},
        test_nll={
            "released": round(released[1], 3),
            "default": round(float(nll), 3),
            "exact": round(test.exact_nll, 3),
        },
        nats_better=round(float(released[1] - nll), 2),
        gap_to_exact=round(float(nll - test.exact_nll), 3),
        share_of_its_time=round(full / theirs, 3),
    )


def test_draws_beside_nflows_galaxy_by_galaxy(benchmark) -> None:
    """1,000 draws of 400 galaxies; nflows draws for ten galaxies from all members, times forty."""
    train, held, test = make_problem()
    config = FlowEnsembleConfig(recipe="coupling", members=MEMBERS, batch_size=128, epochs=1)
    ensemble = fit(train, held, config)
    flows = [make_nflows(512, seed) for seed in range(MEMBERS)]
    context = test.context

    def ours() -> np.ndarray:
        return ensemble.draw(context, 1_000)

    benchmark.pedantic(ours, rounds=PAIRS, warmup_rounds=1)
    pairs = [
        (seconds_of(ours), 40 * seconds_of(lambda: draw_galaxy_by_galaxy(flows, context[:10], 1_000)))
        for _ in range(PAIRS)
    ]
    report(benchmark, pairs, wanted=40)


def _mixture_nll(flows, train: Split, rows: Split) -> float:
    context = (rows.context - train.context.mean()) / train.context.std()
    with torch.no_grad():
        members = torch.stack([flow.log_prob(rows.target, context) for flow in flows])
    return -float((torch.logsumexp(members, 0) - math.log(len(members))).mean())
