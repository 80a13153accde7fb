"""A scikit-learn façade: one VAE as a transformer, beside `PCA` and `FactorAnalysis`."""

import math
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral
from typing import Any, Literal, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxvae.analysis.consensus import convention
from jaxvae.data.panel import Panel, Scaler, Split, fit_scaler
from jaxvae.errors import LARGEST_SEED, DataError, OptionError, check_option, shown
from jaxvae.fitting.config import AUTO, StudyConfig, preset_of
from jaxvae.fitting.prepare import for_cells
from jaxvae.inference.importance import (
    LIKELIHOOD_SAMPLES,
    first_estimate,
    is_hard,
    second_estimate,
)
from jaxvae.inference.modes import decoder_jacobians
from jaxvae.inference.rows import ask_member, ask_rows, padded_size
from jaxvae.inference.scenarios import implied_covariance, sample_scenarios
from jaxvae.models.model import Batch, Model, Variables, make_batch
from jaxvae.selection.candidates import TRAINED_SHARE
from jaxvae.selection.select import SIMPLEST, count_by_factor_analysis, select
from jaxvae.training.blas import blas_threads
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.state import Data
from jaxvae.training.streams import Stream
from jaxvae.training.tiles import pad

FEWEST_ROWS = 5  # of which the last fifth is one
# Families are ranked on the last fifth: a year of days leaves fifty rows for it. On fewer their
# differences drown, and a fit would cost the compiling of five families.
LEAST_TO_RACE = 250
LEAST_SIZE = 128  # of training rows as a program has them
FLOATS = (np.float64, np.float32)
N_DRAWS = 4096  # of the prior, for moments that have no closed form
# What a setting of a study is called here.
ARGUMENTS = {"n_factors": "n_components", "betas": "beta", "likelihood_samples": "n_samples"}


class Description(NamedTuple):
    """A fitted model in standard units.

    loadings: the decoder's mean Jacobian over the rows. noise_variance: mean of Var(x | z) over
    them. mean, covariance: of x under the model.
    """

    loadings: Float[Array, "asset factor"]
    noise_variance: Float[Array, " asset"]
    mean: Float[Array, " asset"]
    covariance: Float[Array, "asset asset"]


@no_type_check  # at run time, where the types are for `fit` to check
@dataclass(eq=False, repr=False)
class Settings:
    """What VAEs are trained with, and that cells may be missing.

    Types are checked by `fit`, as scikit-learn wants it.
    """

    n_components: int | Literal["auto"] = AUTO
    _: KW_ONLY
    beta: float = 1.0
    preset: Literal["notebook"] | None = None
    model: str | object = AUTO
    epochs: int | None = None
    n_samples: int = LIKELIHOOD_SAMPLES
    random_state: int | np.random.RandomState | np.random.Generator | None = 0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = True
        return tags


class VAEFactors(  # type: ignore[misc]
    Settings, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Latent factors by a variational autoencoder, with the methods and attributes of
    `FactorAnalysis`.

    Rows are dates, in order: where a model's training is stopped early, the last fifth of them
    stops it and is not trained on. The family `linear`, which nothing stops, is x = W z + b + e,
    z ~ N(0, I), e ~ N(0, Ψ), whose covariance is WWᵀ + Ψ, and reaches the likelihood of
    `FactorAnalysis`; others bend it.

    Args:
        n_components: latent factors, at most the columns of X; or "auto" for as many as the rows
            have use for.
        beta: weight of the KL term.
        preset: "notebook", or None.
        model: as `StudyConfig` names or takes them, of those whose rows are independent and that
            need no covariates. "auto", for either, is what a study of the rows would choose on the
            last fifth of them (`selection`), weights aside; of fewer than 250 rows `linear`
            and the number of factors of the factor analysis under which that fifth is likeliest.
        epochs: the most epochs; by default the model's.
        n_samples: importance samples a row in `score_samples`, where the model has no closed form.
        random_state: an int gives the same fit each time; a `RandomState` or `Generator` moves on
            with each; None draws from NumPy's global state.

    Attributes:
        components_: component × feature: the decoder's mean Jacobian, units of X per unit of a
            factor; Wᵀ of a linear model. By descending variance explained, each with a positive
            mean, as all factors of this package.
        mean_: of each feature under the model.
        noise_variance_: Ψ, of each feature: the mean of Var(x | z) over the rows.
        explained_variance_ratio_: Σ_j components_[k, j]² over the trace of `get_covariance()`.
        n_components_: how many components there are.
        n_iter_: epochs trained.
        config_: the settings of a study that it was trained by: `model` and `n_factors` are those
            chosen where they were "auto".
        model_, variables_, scaler_: what was fitted.
        n_features_in_, feature_names_in_: of X.
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "VAEFactors":
        """Train on returns.

        Args:
            X: array-like of shape (n_dates, n_features); NaN where a cell is missing.
            y: not looked at.
            sample_weight: what each row counts, by default 1; a row of weight 0 is left out. A
                family that nothing stops early has the fit of rows repeated so often, to the bit:
                equal rows are one of summed weight there, and their order has no meaning.

        Returns:
            The estimator, fitted.

        Raises:
            ValueError: a column does not vary, the training diverges, or an argument is wrong.
        """
        X = checked(self, X, reset=True)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        X, weights = X[weights > 0].astype(np.float64), weights[weights > 0]
        if len(X) < FEWEST_ROWS:
            raise DataError(f"{len(X)} rows have a weight above 0; at least {FEWEST_ROWS}")
        if np.isnan(X).all(axis=0).any():
            raise DataError("X has a column without any value; leave it out")
        if (fit_scaler(X).scale == 0.0).any():
            raise DataError("X has a column that does not vary; leave it out")
        self._seed = seed_of(self.random_state)
        try:
            with blas_threads(*X.shape):
                self._train(X, weights)
        except OptionError as error:
            name, *what = error.args
            raise OptionError(ARGUMENTS.get(name, name), *what) from None
        return self

    def _train(self, X: np.ndarray, weights: np.ndarray) -> None:
        """The member, on all rows or stopped by the last, and what it says of itself."""
        incomplete = bool(np.isnan(X).any())
        self.config_: StudyConfig = self._choose(X)
        preset = for_cells(preset_of(self.config_), X.shape[1], incomplete)
        self._family, self._sees_gaps = preset.model, incomplete
        model = self.model_
        if preset.needs_context or model.facts.ordered or model.recurrence is not None:
            raise OptionError(
                "model", f"{shown(self.model)} knows more of a row than its returns; use run_study"
            )
        stopped = preset.train.patience is not None
        X, weights = (X, weights) if stopped else _merge_equal(X, weights)
        n_first = int(TRAINED_SHARE * len(X))
        n_train = n_first if stopped else len(X)
        self.scaler_: Scaler = _weighted_scaler(X, weights)
        values = self.scaler_.standardise(X)
        training = _padded_batch(values[:n_train], weights[:n_train], LEAST_SIZE)
        validation = _padded_batch(values[n_first:], weights[n_first:])
        batch_size = min(preset.train.batch_size, len(training.values))
        config = replace(preset.train, batch_size=batch_size)
        n_batches = jnp.int32(math.ceil(n_train / config.batch_size))
        data = Data(_unweighted(training), _unweighted(validation), n_batches)
        members = member_grid((0,), (self.beta,), data, model, preset.learning_rate, config.epochs)
        members.hyperparameters.row_weights[:] = training.weights
        members.hyperparameters.validation_weights[:] = validation.weights
        root, device = jax.random.key(self._seed), (jax.local_devices()[0],)
        found = train_ensemble(root, data, members, model, config, tile_width=1, devices=device)
        if not found.ok[0]:
            raise DataError("the training diverged: look for outliers in X, or lower beta")
        turn = model.principal or (lambda variables: variables)
        self.variables_: Variables = jax.tree.map(lambda leaf: leaf[0], turn(found.variables))
        self.n_iter_ = int(found.epochs[0])
        self._describe(training)

    def _describe(self, training: Batch) -> None:
        """The attributes that say what the model is, in the units of X."""
        found, scale = self._described(training), self.scaler_.scale
        loadings = np.asarray(found.loadings, np.float64)
        self._order, self._sign = convention(loadings, scale)
        self.components_ = (loadings * scale[:, None])[:, self._order].T * self._sign[:, None]
        self.n_components_ = len(self.components_)
        self.mean_ = self.scaler_.mean + scale * np.asarray(found.mean, np.float64)
        self.noise_variance_ = np.asarray(found.noise_variance, np.float64) * scale**2
        total = np.diag(np.asarray(found.covariance, np.float64)) @ scale**2
        self.explained_variance_ratio_ = (self.components_**2).sum(axis=1) / total

    def _choose(self, X: np.ndarray) -> StudyConfig:
        """The model and its number of factors; chosen on the last fifth of the rows where left
        open."""
        if self.n_components is None:
            raise OptionError("n_components", "None is no number; give one, or 'auto'")
        config = StudyConfig(
            model=self.model,
            n_factors=self.n_components,
            betas=(self.beta,),
            preset=self.preset,
            epochs=self.epochs,
            likelihood_samples=self.n_samples,
            root_seed=self._seed,
        )
        if not isinstance(config.n_factors, str) and config.n_factors > X.shape[1]:
            raise OptionError(
                "n_components", f"{config.n_factors} exceeds the {X.shape[1]} columns of X"
            )
        n_rows, n_train = len(X), int(TRAINED_SHARE * len(X))
        split = Split(slice(0, n_train), slice(n_train, n_rows), slice(0, n_rows), slice(0, 0))
        if n_rows < LEAST_TO_RACE:
            return _of_few_rows(config, X, split)
        if self.preset is None and AUTO in (config.model, config.n_factors):
            dates = pd.date_range("2000-01-01", periods=n_rows)
            panel = Panel(X, dates, tuple(f"x{k}" for k in range(X.shape[1])))
            config = select(panel, config, split=split).config
        return config

    @property
    def model_(self) -> Model:
        """The model that was fitted, of the columns of X in standard units."""
        if not hasattr(self, "_family"):
            check_is_fitted(self)
        model: Model = self._family.build(self.n_features_in_)
        return model

    def transform(self, X: Any) -> np.ndarray:
        """Posterior means of the factors, E[z | x], exact where the model knows them.

        Args:
            X: array-like of shape (n_dates, n_features); NaN where a cell is missing, if the model
                knows its posterior or was fitted to rows with missing cells.

        Returns:
            ndarray of shape (n_dates, n_components), in the order and with the signs of
            `components_`, in units of the prior's scale.

        Raises:
            ValueError: cells of X are missing and the model can do without none, X has other
                columns than what was fitted, or nothing was.
        """
        check_is_fitted(self)
        X = checked(self, X)
        if np.isnan(X).any() and not (self._sees_gaps or self.model_.posterior is not None):
            raise DataError("X has missing cells (NaN), and what it was fitted to had none")
        means = self._ask_rows(_posterior_means, {"batch": self._batch(X)})
        return (means[:, self._order] * self._sign).astype(X.dtype)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decoder means of factors, E[x | z].

        Args:
            X: factors, of shape (n_dates, n_components).

        Returns:
            ndarray of shape (n_dates, n_features), in the units of the data.

        Raises:
            ValueError: X has not one column a component, or nothing was fitted.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=FLOATS)
        if X.shape[1] != self.n_components_:
            raise DataError(f"X has {X.shape[1]} columns; it needs {self.n_components_} factors")
        factors = np.empty(X.shape, np.float32)
        factors[:, self._order] = X * self._sign
        batch = make_batch(np.zeros((len(X), self.n_features_in_)))
        means = self._ask_rows(_decoder_means, {"batch": batch, "factors": factors})
        return self.scaler_.restore(means.astype(np.float64)).astype(X.dtype)

    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x) of each date over its observed cells, in nats, in the units of the data.

        Exact where there is a closed form, else by importance sampling with the same draws for
        every row, so that neither the order nor the number of rows changes what one of them gets.

        Args:
            X: array-like of shape (n_dates, n_features); NaN where a cell is missing.

        Returns:
            ndarray of shape (n_dates,), in nats.

        Raises:
            ValueError: X has other columns than what was fitted, or nothing was.
        """
        check_is_fitted(self)
        X = checked(self, X).astype(np.float64)
        batch, shared = self._batch(X), {"key": Stream.EVALUATION.key(self._seed)}
        n_samples = self.n_samples
        found, modes = self._ask_rows(first_estimate, {"batch": batch}, shared, n_samples=n_samples)
        values, hard = found.value.astype(np.float64), is_hard(found, n_samples)
        if hard.any():
            rows = {"row": batch, "modes": modes}
            rows = jax.tree.map(lambda leaf: np.asarray(leaf)[hard], rows)
            values[hard] = self._ask_rows(second_estimate, rows, shared, block=1, number=0).value
        return values - (np.isfinite(X) * np.log(self.scaler_.scale)).sum(axis=1)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean of `score_samples`, as in scikit-learn's `PCA` and `FactorAnalysis`.

        Args:
            X: array-like of shape (n_dates, n_features); NaN where a cell is missing.
            y: not looked at.
            sample_weight: what each row counts in the mean.

        Returns:
            Nats per date.

        Raises:
            ValueError: as `score_samples`, or a weight is negative.
        """
        found = self.score_samples(X)
        weights = _check_sample_weight(sample_weight, found[:, None], ensure_non_negative=True)
        return float(np.average(found, weights=weights))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draws from the model, observation noise included.

        Args:
            n_samples: how many.
            random_state: as of the estimator: an int gives the same draws each time, None goes on
                with NumPy's global state.

        Returns:
            ndarray of shape (n_samples, n_features), in the units of the data.

        Raises:
            ValueError: fewer than one sample, or nothing was fitted.
        """
        check_is_fitted(self)
        n_samples = check_option("n_samples", n_samples, int, least=1)
        batch = make_batch(np.zeros((padded_size(n_samples), self.n_features_in_)))
        draws = self._ask(sample_scenarios, Stream.SCENARIOS.key(seed_of(random_state)), batch)
        return self.scaler_.restore(draws[:n_samples].astype(np.float64))

    def get_covariance(self) -> np.ndarray:
        """Cov(x) under the model: WWᵀ + Ψ of a linear Gaussian one, from draws of z where there is
        no closed form.

        Returns:
            ndarray of shape (n_features, n_features), in the units of the data squared.
        """
        check_is_fitted(self)
        batch = _padded_batch(np.zeros((1, self.n_features_in_)), np.ones(1))
        covariance, scale = self._described(batch).covariance, self.scaler_.scale
        return np.asarray(covariance, np.float64) * scale[:, None] * scale

    def get_precision(self) -> np.ndarray:
        """The inverse of `get_covariance`.

        Returns:
            ndarray of shape (n_features, n_features).
        """
        return np.linalg.inv(self.get_covariance())

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _batch(self, X: np.ndarray) -> Batch:
        return make_batch(self.scaler_.standardise(X.astype(np.float64)))

    def _described(self, batch: Batch) -> Description:
        found: Description = self._ask(_description, Stream.COVARIANCE.key(self._seed), batch)
        return found

    def _ask(self, function: Any, key: jax.Array, batch: Batch) -> Any:
        shared = {"key": key, "batch": batch}
        return ask_member(function, self.variables_, shared, model=self.model_)

    def _ask_rows(
        self, function: Any, rows: dict[str, Any], shared: Any = None, **static: Any
    ) -> Any:
        return ask_rows(function, self.variables_, rows, shared, model=self.model_, **static)


def checked(estimator: Any, X: Any, *, reset: bool = False) -> np.ndarray:
    """X as an array of floats, in which cells may be missing; `reset` for what is to be fitted to.

    Raises ValueError where it is none, or differs from what was fitted to.
    """
    least = {"ensure_min_samples": FEWEST_ROWS, "ensure_min_features": 2} if reset else {}
    options: dict[str, Any] = {"dtype": FLOATS, "ensure_all_finite": "allow-nan", **least}
    found: np.ndarray = validate_data(estimator, X, reset=reset, **options)
    return found


def _posterior_means(
    variables: Variables, batch: Batch, model: Model
) -> Float[Array, "row factor"]:
    if model.posterior is not None:
        return model.posterior(variables, batch).mean
    return model.encode(variables, batch, False)[0].mean


def _decoder_means(
    variables: Variables, batch: Batch, factors: Float[Array, "row factor"], model: Model
) -> Float[Array, "row asset"]:
    return model.decode(variables, factors, batch, False)[0].mean


def _description(
    variables: Variables, key: Key[Array, ""], batch: Batch, model: Model
) -> Description:
    factors = _posterior_means(variables, batch, model)
    jacobian, _ = decoder_jacobians(model, variables, batch, factors)
    share = batch.weights / jnp.sum(batch.weights)
    variance = model.decode(variables, factors, batch, False)[0].variance
    row = jax.tree.map(lambda leaf: leaf[:1], batch)
    draws = jax.tree.map(lambda leaf: jnp.repeat(leaf, N_DRAWS, axis=0), row)
    moments = implied_covariance(key, model, variables, draws if model.moments is None else row)
    return Description(
        jnp.einsum("kra,r->ak", jacobian, share),
        share @ jnp.broadcast_to(variance, batch.values.shape),
        *moments,
    )


def _of_few_rows(config: StudyConfig, X: np.ndarray, split: Split) -> StudyConfig:
    """The configuration with `linear` and a factor analysis's number of factors where it leaves
    them open."""
    if config.preset is not None:
        return config
    config = replace(config, model=SIMPLEST) if config.model == AUTO else config
    if config.n_factors != AUTO or not isinstance(config.model, str):
        return config
    facts = preset_of(config).model.build(X.shape[1]).facts
    extra = 0 if facts.volatility_factor is None else 1
    return replace(config, n_factors=extra + max(1, count_by_factor_analysis(X, split)))


def _merge_equal(X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row once, with the sum of its weights, in an order that comes of the rows alone; as they
    stand where each counts 1 and no two are equal."""
    X = np.ascontiguousarray(np.where(np.isnan(X), np.nan, X + 0.0))  # One NaN, one zero.
    as_bytes = X.view(np.dtype((np.void, X.itemsize * X.shape[1]))).ravel()
    _, first, place = np.unique(as_bytes, return_index=True, return_inverse=True)
    if len(first) == len(X) and (weights == 1.0).all():
        return X, weights
    return X[first], np.bincount(place.ravel(), weights)


def _weighted_scaler(X: np.ndarray, weights: np.ndarray) -> Scaler:
    """Mean and standard deviation over the observed cells, rows by their weights."""
    share = np.isfinite(X) * weights[:, None]
    share /= share.sum(axis=0)
    mean = (share * np.nan_to_num(X)).sum(axis=0)
    return Scaler(mean, np.sqrt((share * np.nan_to_num(X - mean) ** 2).sum(axis=0)))


def _padded_batch(values: np.ndarray, weights: np.ndarray, least: int = 0) -> Batch:
    """Rows with their weights, and rows of weight 0 up to a size that programs are shared at."""
    values, weights = pad((values, weights), max(least, padded_size(len(values))), "constant")
    return make_batch(values, weights=weights)


def _unweighted(batch: Batch) -> Batch:
    return batch._replace(weights=jnp.ones_like(batch.weights))


def seed_of(random_state: Any) -> int:
    """A seed of 32 bits: the int itself, or the next draw of what it is."""
    if isinstance(random_state, Integral):
        return int(check_option("random_state", random_state, int, least=0, most=LARGEST_SEED))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(LARGEST_SEED, endpoint=True))
    return int(check_random_state(random_state).randint(LARGEST_SEED, dtype=np.uint32))
