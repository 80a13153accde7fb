"""The problem that every row of a benchmark solves: the notebook's data, network and schedule.

Training: `linear_panel(42)`, all dates standardised by their own mean and deviation, in sample, as
in the notebook. Quality: the mean squared error of reconstructions, from the posterior mean, of
dates that nobody trained on, drawn from the same loadings, volatilities and noise.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxvae.data.panel import fit_scaler
from jaxvae.data.synthetic import INNOVATION, PERSISTENCE, Truth, conditional_mean, linear_panel

N_FACTORS, WIDTHS, SLOPE = 5, (64, 32), 0.2
BATCH_SIZE, LEARNING_RATE, CLIP_NORM, BETA, WARMUP_EPOCHS = 64, 1e-3, 1.0, 0.1, 50
PANEL_SEED, FRESH_SEED = 42, 43
FLOPS_LEAVE_OUT = "batch norm, activations, the loss, clipping, Adam, shuffles and random numbers"


class Size(NamedTuple):
    """How large a run is.

    members: of a row that trains many at once. seeds: members whose quality is compared.
    rounds: times that all rows are run. repeats: samples a round, where one is short.
    n_fresh: dates that quality is measured on.
    """

    n_dates: int
    n_assets: int
    epochs: int
    members: int
    seeds: int
    rounds: int
    repeats: int
    n_fresh: int


FULL = Size(1000, 100, 200, members=64, seeds=16, rounds=3, repeats=4, n_fresh=10_000)
QUICK = Size(100, 12, 2, members=2, seeds=2, rounds=1, repeats=1, n_fresh=50)


class Problem(NamedTuple):
    """values: standardised training returns. fresh: new dates in the same units."""

    values: Float[np.ndarray, "date asset"]
    fresh: Float[np.ndarray, "fresh_date asset"]
    epochs: int


class Row(NamedTuple):
    """A way to train members of the problem.

    prepare: compiles for so many seeds, or tries settings; returns the settings worth recording.
    train: one member a seed; returns when they are trained.
    errors: of each trained member, the mean squared error on the fresh dates.
    """

    prepare: Callable[[Sequence[int]], dict[str, Any]]
    train: Callable[[Sequence[int]], Any]
    errors: Callable[[Any], list[float]]


def notebook_problem(size: Size) -> Problem:
    panel, truth = linear_panel(PANEL_SEED, n_dates=size.n_dates, n_assets=size.n_assets)
    scaler = fit_scaler(panel.values)
    fresh = scaler.standardise(draw_dates(truth, size.n_fresh, FRESH_SEED))
    values = scaler.standardise(panel.values)
    return Problem(values.astype(np.float32), fresh.astype(np.float32), size.epochs)


def draw_dates(truth: Truth, n_dates: int, seed: int) -> Float[np.ndarray, "date asset"]:
    """Further returns of the truth's model, as fractions: its loadings, volatilities and noise
    scales, new factors and noise."""
    random = np.random.default_rng(seed)
    factors = random.standard_normal((n_dates, len(truth.volatilities))) * truth.volatilities
    for date in range(1, n_dates):
        factors[date] = PERSISTENCE * factors[date - 1] + INNOVATION * factors[date]
    noise = random.standard_normal((n_dates, len(truth.loadings))) * truth.noise_scale
    return conditional_mean(truth, factors) + noise


def beta_at(epoch: int, epochs: int) -> float:
    """The notebook's β at an epoch, counted from 0; shorter runs warm up over a quarter of them."""
    warmup = min(WARMUP_EPOCHS, epochs // 4)
    return BETA if warmup == 0 else min(BETA, BETA * epoch / warmup)


def n_weights(n_assets: int) -> int:
    """Weights that take part in matrix products; 17,376 for 100 assets."""
    wide, narrow = WIDTHS
    return 2 * (n_assets * wide + wide * narrow) + 3 * narrow * N_FACTORS


def product_flops(n_assets: int, n_rows: int) -> int:
    """Floating-point operations of the matrix products of a member's step on so many rows.

    Two a row and weight forward, two for the gradient of the weights, two for that of the inputs,
    which the first layer does not need.
    """
    return 2 * n_rows * (3 * n_weights(n_assets) - n_assets * WIDTHS[0])


def training_flops(size: Size) -> int:
    """Of a member's whole training, each row counted once an epoch: no padding of short batches."""
    return size.epochs * product_flops(size.n_assets, size.n_dates)


def n_parameters(n_assets: int) -> int:
    """All that Adam moves: weights, biases, scales and shifts of batch norm; 17,998 for 100
    assets."""
    wide, narrow = WIDTHS
    biases = 2 * (wide + narrow + N_FACTORS) + n_assets
    return n_weights(n_assets) + biases + 2 * (2 * wide + narrow)


def training_bytes(size: Size) -> int:
    """What a member's training must move between a large memory and the processor, in float32.

    Each step reads and writes every parameter, its gradient and Adam's two moments once, and reads
    its rows.
    """
    n_steps = math.ceil(size.n_dates / BATCH_SIZE)
    an_epoch = 8 * n_parameters(size.n_assets) * n_steps + size.n_dates * size.n_assets
    return 4 * size.epochs * an_epoch
