"""How many factors drive a panel: seven classical estimators, held-out likelihood and a verdict.

Values are returns on the rows of `fit`, complete (no missing cells) and not constant by asset; they
are standardised by asset, so that μ_1 ≥ … ≥ μ_m, m = min(date, asset), are the eigenvalues of the
sample correlation matrix. `most` is the largest number of factors considered.
"""

from statistics import median_low

import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.bootstrap import Interval, block_bootstrap_interval
from jaxvae.analysis.metrics import standardise_columns
from jaxvae.analysis.second_moments import SecondMoments
from jaxvae.errors import OptionError

SMALLEST_SHARE = 1e-12  # of the total variance: what remains below it is rounding
EDGE_POINTS, EDGE_ROUNDS = 5, 4
NULL_DRAWS, NULL_LEVEL = 100, 0.95
PARALLEL = "parallel_analysis"
MOST = 15


def bai_ng(
    eigenvalues: Float[np.ndarray, " component"], most: int, shape: tuple[int, int]
) -> dict[str, int]:
    """IC1, IC2 and IC3 of Bai and Ng (2002), "Determining the number of factors in approximate
    factor models", by name.

        argmin over k = 0..most of  ln V(k) + k g,    V(k) = Σ_{j>k} μ_j
        IC1: g = (N + T) / (N T) · ln(N T / (N + T))
        IC2: g = (N + T) / (N T) · ln min(N, T)
        IC3: g = ln(min(N, T)) / min(N, T)

    with T dates and N assets: the second is the heaviest penalty, the third the lightest. V(k) is
    the residual variance of k principal components, up to a constant factor that moves no minimum.

    Args:
        eigenvalues: from `sample_eigenvalues`, which checks `most`.
        most: the largest k.
        shape: T and N.

    Returns:
        Each answer by its name, 0 to `most`.
    """
    (n_dates, n_assets), smaller = shape, min(shape)
    cells, ends = n_dates * n_assets, n_dates + n_assets
    penalties = {
        "bai_ng_ic1": ends / cells * np.log(cells / ends),
        "bai_ng_ic2": ends / cells * np.log(smaller),
        "bai_ng_ic3": np.log(smaller) / smaller,
    }
    left, sizes = np.log(_remaining(eigenvalues)[: most + 1]), np.arange(most + 1)
    return {name: int(np.argmin(left + g * sizes)) for name, g in penalties.items()}


def eigenvalue_ratio(eigenvalues: Float[np.ndarray, " component"], most: int) -> int:
    """ER of Ahn and Horenstein (2013), "Eigenvalue ratio test for the number of factors".

        argmax over k = 0..most of  μ_k / μ_{k+1},    mock μ_0 = Σ_j μ_j / ln m

    One factor that dwarfs the others, such as a market, makes it answer 1.

    Args:
        eigenvalues: from `sample_eigenvalues`, which checks `most`.
        most: the largest k.
    """
    return _largest_ratio(_with_mock(eigenvalues)[: most + 2])


def growth_ratio(eigenvalues: Float[np.ndarray, " component"], most: int) -> int:
    """GR of Ahn and Horenstein (2013): as `eigenvalue_ratio`, of the growth of what remains.

        argmax over k = 0..most of  G_k / G_{k+1},    G_k = ln[1 + μ_k / V(k)],  V(k) = Σ_{j>k} μ_j

    Dividing by what remains makes it less of a captive of one dominant factor than ER.

    Args:
        eigenvalues: from `sample_eigenvalues`, which checks `most`.
        most: the largest k.
    """
    growth = np.log1p(_with_mock(eigenvalues)[: most + 2] / _remaining(eigenvalues)[: most + 2])
    return _largest_ratio(growth)


def edge_distribution(eigenvalues: Float[np.ndarray, " component"], most: int) -> int:
    """ED of Onatski (2010), whose δ comes from the empirical distribution of the eigenvalues.

    The largest k ≤ most with μ_k − μ_{k+1} ≥ δ, else 0. The eigenvalues of noise crowd at their
    upper edge, where μ_j falls about linearly in j^⅔: δ is twice the absolute slope of a least
    squares line through five of them, μ_j..μ_{j+4} on (j−1)^⅔..(j+3)^⅔, first with j = most + 1,
    then with j = the last answer + 1, four rounds in all.

    Args:
        eigenvalues: from `sample_eigenvalues`, which checks `most`.
        most: the largest k.
    """
    gaps = eigenvalues[:most] - eigenvalues[1 : most + 1]
    found = most
    for _ in range(EDGE_ROUNDS):
        places = np.arange(found, found + EDGE_POINTS) ** (2 / 3)
        slope = np.polyfit(places, eigenvalues[found : found + EDGE_POINTS], 1)[0]
        wide = np.flatnonzero(gaps >= max(2 * abs(slope), SMALLEST_SHARE * eigenvalues.sum()))
        found = int(wide[-1]) + 1 if len(wide) else 0
    return found


def parallel_analysis(
    values: Float[np.ndarray, "date asset"], most: int, rng: np.random.Generator
) -> int:
    """The leading eigenvalues that beat those of permuted returns (Horn 1965).

    Each of 100 draws permutes the dates within each asset on its own, which keeps every asset's
    distribution, tails too, and breaks all links between assets. The answer is the number of
    leading μ_k above the 95th percentile of the k-th permuted eigenvalue, counted up to the first
    that is not: so it finds a factor in about 5 % of panels of independent noise. Permuting also
    breaks autocorrelation and volatility that assets share; where noise has either, its
    eigenvalues spread more than permuted ones and the answer is too large.

    Args:
        values: complete returns.
        most: the largest number.
        rng: source of the permutations.

    Raises:
        OptionError: `most` is out of range.

    Horn drew Gaussian noise and took the mean; permutation and percentile follow Buja and Eyuboglu
    (1992).
    """
    eigenvalues = sample_eigenvalues(values, most)[:most]
    units, _, _ = standardise_columns(values)
    draws = [_eigenvalues(rng.permuted(units, axis=0), most)[:most] for _ in range(NULL_DRAWS)]
    beaten = eigenvalues > np.quantile(draws, NULL_LEVEL, axis=0)
    return int(np.logical_and.accumulate(beaten).sum())


def n_factors_table(
    values: Float[np.ndarray, "date asset"], most: int, rng: np.random.Generator
) -> dict[str, int]:
    """Every estimator's number of factors, 0 to `most`, by its name.

    Args:
        values: complete returns.
        most: the largest number.
        rng: for `parallel_analysis`.

    Returns:
        Seven numbers of factors by the names of their estimators.

    Raises:
        OptionError: `most` is out of range: 1 to min(date − 1, asset) − 5.
    """
    eigenvalues = sample_eigenvalues(values, most)
    return {
        **bai_ng(eigenvalues, most, values.shape),
        "eigenvalue_ratio": eigenvalue_ratio(eigenvalues, most),
        "growth_ratio": growth_ratio(eigenvalues, most),
        "edge_distribution": edge_distribution(eigenvalues, most),
        PARALLEL: parallel_analysis(values, most, rng),
    }


def most_considered(n_dates: int, n_assets: int) -> int:
    """The `most` of a study: 15, and no more than a third of assets and of dates; 0 below 6.

    Information criteria count to the end where `most` comes near the number of eigenvalues: a few
    that remain leave so little variance that each is a large share of it.

    Args:
        n_dates, n_assets: of the panel.
    """
    smaller = min(n_dates - 1, n_assets)
    return max(0, min(MOST, smaller // 3, smaller - EDGE_POINTS))


def held_out_gains(
    rng: np.random.Generator, scores: Float[np.ndarray, "size date"]
) -> list[Interval]:
    """Mean gain in log-likelihood of 0, 1, … factors over none, paired by date, nats a date.

    Intervals: 95 %, block bootstrap.

    Args:
        rng: source of the blocks' starts.
        scores: log-likelihood of dates that the models were not fitted on, by number of factors.

    Returns:
        One a number of factors, none first.
    """
    return [block_bootstrap_interval(rng, size - scores[0]) for size in scores]


def held_out_number(
    rng: np.random.Generator,
    scores: Float[np.ndarray, "size date"],
    sizes: Int[np.ndarray, " size"],
    used: Float[np.ndarray, " size"],
) -> int:
    """The number of highest mean score, where it beats none by more than its error; else 0.

    Its error: the 95 % interval of `held_out_gains`. Where the answer is the largest number tried,
    there may be more.

    Args:
        rng: source of the blocks' starts.
        scores: as in `held_out_gains`.
        sizes: numbers of factors, ascending from 0.
        used: how many of them the models use on average; a factor that is not used does not count,
            as what a model gains without one, by stopping early perhaps, is none of its doing.
    """
    best = int(scores.mean(axis=1).argmax())
    if not held_out_gains(rng, scores[[0, best]])[1].low > 0:
        return 0
    return min(int(sizes[best]), round(float(used[best])))


def combine_estimates(table: dict[str, int], held_out: int | None = None) -> int:
    """The median of `n_factors_table`'s seven numbers; 0 where parallel analysis says 0, or where
    models with factors do not beat one without on held-out dates.

    The median is the largest number that most estimators reach. Parallel analysis has a veto since
    it alone states how often it errs; alone it cannot make a factor out of noise.

    The rule is a cautious one. Three of the seven are Bai and Ng's, which count a factor only where
    μ_k exceeds a share of about g of the variance that V(k−1) leaves: 5 % with 700 dates and 100
    assets. Weaker factors that `edge_distribution` and `parallel_analysis` agree on stay out of it.

    Args:
        table: empty where a panel has too few assets for them; then `held_out` alone speaks.
        held_out: `held_out_number`; it may only say that there are none, since members come with a
            largest number of factors. None where nobody asked.
    """
    if held_out == 0 or (table and table[PARALLEL] == 0):
        return 0
    if not table:
        return held_out or 0
    return median_low(table.values())


def sample_eigenvalues(
    values: Float[np.ndarray, "date asset"], most: int
) -> Float[np.ndarray, " component"]:
    """μ_1 ≥ μ_2 ≥ …, those that can differ from 0, for estimators that consider up to `most`
    factors.

    Args:
        values: complete returns.
        most: the largest number of factors considered.

    Raises:
        OptionError: `most` is out of range.
    """
    n_dates, n_assets = values.shape
    largest = min(n_dates - 1, n_assets) - EDGE_POINTS
    if not 1 <= most <= largest:
        raise OptionError(
            "most",
            f"{most} of {n_dates} dates and {n_assets} assets must lie between 1 and {largest}",
        )
    return _eigenvalues(values)


def _eigenvalues(
    values: Float[np.ndarray, "date asset"], most: int | None = None
) -> Float[np.ndarray, " component"]:
    """Eigenvalues of the sample correlation matrix that can differ from 0, largest first; most: how
    many are needed, by default all."""
    units, _, _ = standardise_columns(values)
    found = SecondMoments.of(units).eigenvalues(np.ones(units.shape[1]), most)
    return found[: min(units.shape)]


def _remaining(eigenvalues: Float[np.ndarray, " component"]) -> Float[np.ndarray, " component"]:
    """V(k) = Σ_{j>k} μ_j for k = 0, 1, …; floored, so that noiseless panels keep a logarithm."""
    sums = np.cumsum(eigenvalues[::-1])[::-1]
    return np.maximum(sums, SMALLEST_SHARE * sums[0])


def _with_mock(eigenvalues: Float[np.ndarray, " component"]) -> Float[np.ndarray, " place"]:
    """μ_0, μ_1, …, with the mock eigenvalue μ_0 that lets the answer be 0."""
    total = eigenvalues.sum()
    mock = total / np.log(len(eigenvalues))
    return np.concatenate([[mock], np.maximum(eigenvalues, SMALLEST_SHARE * total)])


def _largest_ratio(sizes: Float[np.ndarray, " place"]) -> int:
    return int(np.argmax(sizes[:-1] / sizes[1:]))
