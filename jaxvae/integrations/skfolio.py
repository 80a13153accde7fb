"""Plugs for skfolio: a covariance for its priors, and a distribution for `SyntheticData`.

Both are the equal mixture of one VAE or several, each trained as `VAEFactors` trains it.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from sklearn.utils.validation import check_is_fitted

from jaxvae.analysis.mixtures import mixture_log_density, mixture_moments
from jaxvae.errors import (
    LARGEST_SEED,
    MissingExtraError,
    OptionError,
    check_option,
    did_you_mean,
    shown,
)
from jaxvae.fitting.presets import model_name
from jaxvae.inference.conditioning import DrawsGiven, draw_row_given
from jaxvae.inference.resampling import normalised_weights, systematic_resample
from jaxvae.inference.rows import ask_rows
from jaxvae.integrations.sklearn import Settings, VAEFactors, checked, seed_of
from jaxvae.models.model import make_batch
from jaxvae.training.streams import Stream

try:
    from skfolio.distribution import BaseMultivariateDist
    from skfolio.moments import BaseCovariance
except ImportError as error:
    raise MissingExtraError(
        "the package skfolio, which this module plugs into, is not installed: "
        "pip install 'jaxvae[skfolio]'"
    ) from error

SETTINGS = ("n_components", "preset", "model", "epochs", "n_samples")  # of each `VAEFactors`
# For each row of given values so many weighted draws, of which some are picked where all samples
# share what is given; and so many times the rows where bounds are, whose values have weights too.
_WEIGHTED_DRAWS, _DRAWS_A_ROW, _CANDIDATES = 64, 8, 16
TAIL = 4  # degrees of freedom of the t that these values come from: its tails outlast a model's
FEWEST_EFFECTIVE = 4
_fault = partial(OptionError, "conditioning")


@dataclass(eq=False, repr=False)
class _Mixture(Settings):
    """Settings of an equal mixture of VAEs."""

    _: KW_ONLY
    beta: float | Sequence[float] = 1.0  # type: ignore[assignment]
    seeds: int = 1


@dataclass(eq=False, repr=False)
class VAECovariance(_Mixture, BaseCovariance):  # type: ignore[misc]
    """The covariance of returns under a VAE, or under an equal mixture of several.

    For a mixture, the mean of the members' covariances plus the covariance of their means. Mixing
    over `beta` shrinks: a small β keeps every direction of the rows, a large one their main factors
    alone.

    Args:
        n_components: latent factors, at most the columns of X; or "auto".
        beta: weight of the KL term, or several.
        seeds: VAEs at each β, numbered from `random_state` on.
        preset, model, epochs, n_samples: as `VAEFactors` takes them. What is "auto" is chosen for
            the first VAE; the others follow.
        random_state: as `VAEFactors` takes it.
        nearest, higham, higham_max_iteration: as all covariances of skfolio have them.

    Attributes:
        covariance_: asset × asset, units of X squared.
        location_: the mean of each asset.
        members_: the fitted `VAEFactors`.
        n_features_in_, feature_names_in_: of X.
    """

    _: KW_ONLY
    nearest: bool = True
    higham: bool = False
    higham_max_iteration: int = 100

    def __post_init__(self) -> None:
        own = {name: getattr(self, name) for name in ("nearest", "higham", "higham_max_iteration")}
        BaseCovariance.__init__(self, **own)

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> "VAECovariance":
        """Train on returns.

        Args:
            X: array-like of shape (n_observations, n_assets); NaN where a cell is missing.
            y: not looked at.
            fit_params: not looked at.

        Returns:
            The estimator, fitted.

        Raises:
            ValueError: a column does not vary, a training diverges, or an argument is wrong.
        """
        self.members_ = _fit_members(self, X)
        self.location_, covariance = _moments(self.members_)
        self._set_covariance(covariance)
        return self


class VAEDistribution(_Mixture, BaseMultivariateDist):  # type: ignore[misc]
    """The distribution of returns under a VAE, or under an equal mixture of several, in the place
    of skfolio's `VineCopula`: `SyntheticData(distribution_estimator=VAEDistribution())`.

    Args:
        n_components, beta, seeds, preset, model, epochs: as `VAECovariance` takes them.
        n_samples: importance samples a row in `score_samples`, where the model has no closed form.
        random_state: of the training and of `sample`. An int gives the same draws each time; a
            `RandomState` or `Generator` moves on with each; None draws from NumPy's global state.

    Attributes:
        members_: the fitted `VAEFactors`.
        n_features_in_, feature_names_in_: of X.
    """

    @property
    def n_params(self) -> int:
        """Numbers that the density depends on: of all VAEs, those of the encoders left out."""
        check_is_fitted(self)
        parts = [part for member in self.members_ for part in member.variables_.parameters.items()]
        generative = [values for name, values in parts if name != "encoder"]
        return sum(leaf.size for leaf in jax.tree.leaves(generative))

    @property
    def fitted_repr(self) -> str:
        """What was fitted, in a line."""
        check_is_fitted(self)
        name, n_factors = model_name(self.members_[0].config_.model), self.members_[0].n_components_
        return f"{len(self.members_)} × {name}, {n_factors} factors"

    def fit(self, X: Any, y: Any = None) -> "VAEDistribution":
        """Train on returns.

        Args:
            X: array-like of shape (n_observations, n_assets); NaN where a cell is missing.
            y: not looked at.

        Returns:
            The estimator, fitted.

        Raises:
            ValueError: a column does not vary, a training diverges, or an argument is wrong.
        """
        self.members_ = _fit_members(self, X)
        return self

    def score_samples(self, X: Any) -> Float[np.ndarray, " observation"]:
        """log p(x) of each observation over its observed cells, in nats, in the units of X.

        Args:
            X: array-like of shape (n_observations, n_assets); NaN where a cell is missing.

        Returns:
            ndarray of shape (n_observations,), in nats.
        """
        check_is_fitted(self)
        X = checked(self, X).astype(np.float64)
        return mixture_log_density(np.stack([member.score_samples(X) for member in self.members_]))

    # Types are checked in it, so that errors name the argument.
    def sample(
        self, n_samples: Any = 1, conditioning: Any = None
    ) -> Float[np.ndarray, "sample asset"]:
        """Draws from the model, observation noise included.

        Given returns of some assets, draws are from p(others | those), by importance sampling; of a
        mixture each VAE counts by how likely it finds them. Bounds of several assets hold jointly:
        the draws have the model's distribution within the box (`VineCopula` takes each bounded
        asset's marginal alone).

        Args:
            n_samples: how many.
            conditioning: a dict by asset, its name or its position among the columns of X: a return
                that all draws have; a tuple of two, between which it lies (None or infinite for an
                open end); or an array of `n_samples` returns, one a draw.

        Returns:
            ndarray of shape (n_samples, n_assets), in the units of X.

        Raises:
            ValueError: `conditioning` names no asset of X, one twice or all of them, or a value
                that is none of these.
        """
        check_is_fitted(self)
        n_samples = check_option("n_samples", n_samples, least=1)
        seed = seed_of(self.random_state)
        if conditioning is not None and not isinstance(conditioning, Mapping):
            raise _fault(f"{shown(conditioning)} is no dict of returns")
        if not conditioning:
            return self._draw(n_samples, seed)
        names = [str(name) for name in getattr(self, "feature_names_in_", ())]
        box = _read_conditioning(conditioning, n_samples, self.n_features_in_, names)
        return self._draw_within(box, n_samples, seed)

    def _draw(self, number: int, seed: int) -> Float[np.ndarray, "sample asset"]:
        """The VAEs take turns."""
        each = -(-number // len(self.members_))
        draws = [
            m.sample(each, (seed + k) % (LARGEST_SEED + 1)) for k, m in enumerate(self.members_)
        ]
        return np.stack(draws, axis=1).reshape(-1, self.n_features_in_)[:number]

    def _draw_within(self, box: "Box", number: int, seed: int) -> Float[np.ndarray, "sample asset"]:
        """Values for what is given; of each VAE draws of all assets given those; then samples
        picked among all draws by their weights or, where each sample has values of its own, among
        its own."""
        rng = Stream.RESAMPLING.generator(seed)
        mean, covariance = _moments(self.members_)
        groups = len(box.low)
        a_row = 1 if groups > 1 else _DRAWS_A_ROW
        rows = -(-number // (groups * a_row)) * (_CANDIDATES if box.open.any() else 1)
        values, log_proposal = _propose(rng, box, rows, mean, np.diag(covariance) ** 0.5)
        found = [
            _draw_given(m, jax.random.fold_in(Stream.SCENARIOS.key(seed), k), box, values, a_row)
            for k, m in enumerate(self.members_)
        ]
        log_weights = np.stack([one.log_density - log_proposal for one in found])
        log_weights = log_weights.reshape(len(found), groups, rows, 1).repeat(a_row, axis=-1)
        picked = _pick(rng, log_weights.swapaxes(0, 1).reshape(groups, -1), number)
        member, row, draw = np.unravel_index(picked, (len(found), rows, a_row))
        row = row + np.arange(number) % groups * rows
        draws = np.stack([one.values for one in found])[member, row, draw].astype(np.float64)
        effective = np.stack([one.effective_samples for one in found])[member, row]
        _warn_if_few(len(np.unique(draws, axis=0)), float(np.median(effective)), number)
        draws = self.members_[0].scaler_.restore(draws)
        draws[:, box.columns] = values[row]
        return draws


class Box(NamedTuple):
    """What is given of some assets: returns between two ends, or one where the two meet.

    Attributes:
        columns: of these assets.
        low, high: a row where all samples share them, else a row each.
    """

    columns: list[int]
    low: Float[np.ndarray, "group given"]
    high: Float[np.ndarray, "group given"]

    @property
    def open(self) -> Bool[np.ndarray, "group given"]:
        """Where the ends do not meet."""
        return self.low < self.high


def _fit_members(estimator: Any, X: Any) -> list[VAEFactors]:
    """Seeds × betas, each of the family and the number of factors of the first."""
    X = checked(estimator, X, reset=True).astype(np.float64)
    betas = check_option("beta", estimator.beta, float | tuple[float, ...], least=0)
    betas = betas if isinstance(betas, tuple) else (betas,)
    if not betas:
        raise OptionError("beta", "none is given; at least one")
    seeds = range(check_option("seeds", estimator.seeds, least=1))
    first = seed_of(estimator.random_state)
    settings = {name: getattr(estimator, name) for name in SETTINGS}
    members: list[VAEFactors] = []
    for beta, k in [(beta, k) for beta in betas for k in seeds]:
        state = (first + k) % (LARGEST_SEED + 1)
        members.append(VAEFactors(beta=beta, random_state=state, **settings).fit(X))
        chosen = members[0].config_
        settings |= {"model": chosen.model, "n_components": chosen.n_factors}
    return members


def _moments(
    members: list[VAEFactors],
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    """Mean and covariance of the equal mixture, in the units of X."""
    means, covariances = zip(*((m.mean_, m.get_covariance()) for m in members), strict=True)
    return mixture_moments(np.stack(means), np.stack(covariances))


def _read_conditioning(
    conditioning: Mapping[int | str, Any], number: int, n_assets: int, names: Sequence[str]
) -> Box:
    """What is given, in one row or, where an array is, sample by sample."""
    columns = [_column(asset, n_assets, names) for asset in conditioning]
    if len({*columns}) < len(columns):
        raise _fault(f"{shown([*conditioning])} names an asset twice")
    if len(columns) == n_assets:
        raise _fault("every asset is given; leave out those to draw")
    ends = [_ends(asset, value, number) for asset, value in conditioning.items()]
    low, high = (
        np.stack(np.broadcast_arrays(*map(np.atleast_1d, end)), axis=1)
        for end in zip(*ends, strict=True)
    )
    return Box(columns, low, high)


def _column(asset: int | str, n_assets: int, names: Sequence[str]) -> int:
    """The place of an asset among the columns."""
    if isinstance(asset, str) and asset in names:
        return names.index(asset)
    if isinstance(asset, Integral) and not isinstance(asset, bool) and 0 <= asset < n_assets:
        return int(asset)
    known = f"one of {n_assets} columns" if not names else "an asset of X"
    hint = did_you_mean(asset, names) if isinstance(asset, str) else ""
    raise _fault(f"{shown(asset)} is not {known}{hint}")


def _ends(asset: int | str, value: Any, number: int) -> tuple[Any, Any]:
    """The two ends that a return lies between, alike where it is known."""
    if isinstance(value, tuple):
        if len(value) != 2:
            raise _fault(f"{asset}={shown(value)} is no pair of bounds")
        low = -np.inf if value[0] is None else _number(asset, value[0])
        high = np.inf if value[1] is None else _number(asset, value[1])
        if not low < high:
            raise _fault(f"{asset}={shown(value)}: the first bound must be below the second")
        return low, high
    if np.shape(value) not in ((), (number,)):
        raise _fault(
            f"{asset} has returns of shape {np.shape(value)}; one for each of the {number} samples"
        )
    numbers = [_number(asset, one) for one in np.ravel(np.asarray(value, object))]
    known = np.reshape(numbers, np.shape(value))
    if not np.isfinite(known).all():
        raise _fault(f"{asset}={shown(value)} is not finite")
    return known, known


def _number(asset: int | str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or value != value:
        raise _fault(f"{asset}={shown(value)} is no return, pair of bounds or array of returns")
    return float(value)


def _propose(
    rng: np.random.Generator,
    box: Box,
    rows: int,
    mean: Float[np.ndarray, " asset"],
    spread: Float[np.ndarray, " asset"],
) -> tuple[Float[np.ndarray, "row given"], Float[np.ndarray, " row"]]:
    """Values within the box, so many rows a group, and the log of their density where it is open:
    of a Student-t with each asset's mean and spread, cut at the bounds."""
    low, high, is_open = (end.repeat(rows, axis=0) for end in (box.low, box.high, box.open))
    law = stats.t(TAIL, mean[box.columns], spread[box.columns])
    below, until = law.cdf(low), law.cdf(high)
    drawn = np.clip(law.ppf(rng.uniform(below, until)), low, high)
    values = np.where(is_open, drawn, low)
    share = np.where(is_open, until - below, 1.0)
    return values, (is_open * (law.logpdf(values) - np.log(share))).sum(axis=1)


def _draw_given(
    member: VAEFactors,
    key: jax.Array,
    box: Box,
    values: Float[np.ndarray, "row given"],
    n_draws: int,
) -> DrawsGiven:
    """Draws of all assets given each row of values, in standard units, and how likely these are."""
    scaler, n_assets = member.scaler_, member.n_features_in_
    known = (values - scaler.mean[box.columns]) / scaler.scale[box.columns]
    rows = {
        "batch": make_batch(np.zeros((len(values), n_assets))),
        "returns": known.astype(np.float32),
        "number": np.arange(len(values), dtype=np.int32),
    }
    shared = {"key": key, "weights": np.eye(n_assets, dtype=np.float32)[box.columns]}
    sizes: dict[str, Any] = {"n_samples": _WEIGHTED_DRAWS, "n_draws": n_draws}
    model, variables = member.model_, member.variables_
    drawn: DrawsGiven = ask_rows(draw_row_given, variables, rows, shared, model=model, **sizes)
    return drawn


def _pick(
    rng: np.random.Generator, log_weights: Float[np.ndarray, "group place"], number: int
) -> Int[np.ndarray, " sample"]:
    """Places within the groups by their weights, equally many from each."""
    each = number // len(log_weights)
    weights = [normalised_weights(group.astype(np.float64)) for group in log_weights]
    return np.concatenate([systematic_resample(rng, group, each) for group in weights])


def _warn_if_few(distinct: int, effective: float, number: int) -> None:
    if distinct < number / 2 or effective < FEWEST_EFFECTIVE:
        warnings.warn(
            f"conditioning: few draws fit what is given, the {number:,} samples hold {distinct:,} "
            "different ones; it lies far from what the model was fitted to",
            stacklevel=4,
        )
