"""A scikit-learn façade: one VAE as a transformer, beside `PCA` and `FactorAnalysis`."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxvae.data.panel import Panel, Scaler, Split, fit_scaler
from jaxvae.errors import DataError, OptionError
from jaxvae.inference.evaluation import Evaluation, evaluate, posterior_means
from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.scenarios import sample_scenarios
from jaxvae.models.model import Variables, make_batch
from jaxvae.study.config import AUTO, StudyConfig, preset_of
from jaxvae.study.presets import Preset
from jaxvae.study.selection.candidates import TRAINED_SHARE
from jaxvae.study.selection.select import LEAST_DATES, SIMPLEST, select
from jaxvae.training import member
from jaxvae.training.ensemble import check_grid
from jaxvae.training.state import Data, make_hyperparameters
from jaxvae.training.streams import Stream

CONSTANT = 1e-9


class VAEFactors(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Latent factors by a variational autoencoder.

    Rows are dates, in order: the last fifth of them stops the training and is not trained on.

    Args:
        n_components: Latent factors, or "auto".
        beta: Weight of the KL term.
        preset: "notebook", or None.
        model: As `StudyConfig` names them. "auto", for either, is what a study of the rows would
            choose on the last fifth of them (`study.selection`), and of few rows `linear`.
        epochs: The most epochs; by default the model's.
        n_samples: Importance samples a date in `score_samples`.
        random_state: Seed of every random number.

    Attributes:
        model_, variables_, scaler_: After `fit`, what was fitted.
        loadings_: Feature × component: the decoder's mean Jacobian, units of X per unit of a
            factor.
        n_features_in_: Columns of X.
    """

    def __init__(
        self,
        n_components: int | str = 5,
        *,
        beta: float = 1.0,
        preset: str | None = None,
        model: str = AUTO,
        epochs: int | None = None,
        n_samples: int = 128,
        random_state: int = 0,
    ) -> None:
        self.n_components = n_components
        self.beta = beta
        self.preset = preset
        self.model = model
        self.epochs = epochs
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "VAEFactors":
        """Train on returns.

        Args:
            X: Array-like of shape (n_dates, n_features), finite.
            y: Not looked at.

        Raises:
            ValueError: A column does not vary, or the training diverges.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=10, ensure_min_features=2)
        if (np.ptp(X, axis=0) <= CONSTANT * np.abs(X).max(axis=0)).any():
            raise DataError("X has a column that does not vary; leave it out")
        n_train = int(TRAINED_SHARE * len(X))
        preset = self._choose(X, n_train)
        model = preset.model.build(X.shape[1])
        if model.recurrence is not None:
            raise OptionError(
                "model", f"{self.model!r} forecasts each date from those before; use run_study"
            )
        check_grid((0,), (self.beta,))
        self.scaler_: Scaler = fit_scaler(X)
        values = self.scaler_.standardise(X)
        training, validation = make_batch(values[:n_train]), make_batch(values[n_train:])
        data = Data(training, validation)
        self.model_ = model
        hyperparameters = make_hyperparameters(
            data, self.model_, preset.train, beta=self.beta, learning_rate=preset.learning_rate
        )
        key = jax.random.key(self.random_state)
        run = jax.jit(member.fit, static_argnames=("model", "config"))
        state, _ = run(key, data, hyperparameters, model=self.model_, config=preset.train)
        if not state.ok:
            raise DataError("the training diverged: look for outliers in X, or lower beta")
        turn = model.principal or (lambda variables: variables)
        self.variables_: Variables = jax.tree.map(jnp.asarray, turn(state.best))
        outputs = self._evaluate(values, n_samples=8)
        self.loadings_ = np.asarray(outputs.loadings, np.float64) * self.scaler_.scale[:, None]
        return self

    def _choose(self, X: np.ndarray, n_train: int) -> Preset:
        """The model and its training; chosen on the rows after the training rows where left open.

        A study, which needs more rows than this, checks them as a panel's.
        """
        config = StudyConfig(
            model=self.model,
            n_factors=self.n_components,
            preset=self.preset,
            epochs=self.epochs,
            root_seed=self.random_state,
        )
        if len(X) < LEAST_DATES and self.preset is None and self.model == AUTO:
            config = replace(config, model=SIMPLEST)
        if AUTO in (config.model, config.n_factors) and self.preset is None:
            dates = pd.date_range("2000-01-01", periods=len(X))
            panel = Panel(X, dates, tuple(f"x{k}" for k in range(X.shape[1])))
            parts = (slice(0, n_train), slice(n_train, len(X)), slice(0, len(X)), slice(0, 0))
            config = select(panel, config, split=Split(*parts)).config
        return preset_of(config)

    def transform(self, X: Any) -> np.ndarray:
        """Posterior means, (n_dates, n_components).

        Args:
            X: Array-like of shape (n_dates, n_features), finite.
        """
        batch = make_batch(self._standardise(X))
        means = posterior_means(self.model_, self.variables_, batch)
        return np.asarray(means, np.float64)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decoder means of factors, (n_dates, n_features), in the units of the data.

        Args:
            X: Factors, of shape (n_dates, n_components).
        """
        check_is_fitted(self)
        factors = jnp.asarray(X, jnp.float32)
        batch = make_batch(np.zeros((len(factors), self.n_features_in_)))
        mean = self.model_.decode(self.variables_, factors, batch, False)[0].mean
        return self.scaler_.restore(np.asarray(mean, np.float64))

    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x) of each date in nats, by importance sampling, in the units of the data.

        Args:
            X: Array-like of shape (n_dates, n_features), finite.
        """
        batch, key = make_batch(self._standardise(X)), Stream.EVALUATION.key(self.random_state)
        estimate = log_likelihood(key, self.model_, self.variables_, batch, self.n_samples)
        return np.asarray(estimate.value, np.float64) - np.log(self.scaler_.scale).sum()

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`, as in scikit-learn's `PCA` and `FactorAnalysis`.

        Args:
            X: Array-like of shape (n_dates, n_features), finite.
            y: Not looked at.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: int = 0) -> np.ndarray:
        """Draws from the model, observation noise included, (n_samples, n_features).

        Args:
            n_samples: How many.
            random_state: The same one gives the same draws.
        """
        check_is_fitted(self)
        batch = make_batch(np.zeros((n_samples, self.n_features_in_)))
        key = Stream.SCENARIOS.key(random_state)
        draws = sample_scenarios(key, self.model_, self.variables_, batch)
        return self.scaler_.restore(np.asarray(draws, np.float64))

    def _standardise(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.scaler_.standardise(X)

    def _evaluate(self, values: np.ndarray, n_samples: int) -> Evaluation:
        key, batch = Stream.EVALUATION.key(self.random_state), make_batch(values)
        return evaluate(key, self.model_, self.variables_, batch, n_samples)
