"""The trained members of a study, with the units and conditions that they speak in."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis import consensus
from jaxvae.data.panel import Panel, Scaler
from jaxvae.data.units import check_like_fit, warn_of_far
from jaxvae.errors import DataError, did_you_mean, shown
from jaxvae.fitting.conditions import row_conditions
from jaxvae.fitting.fit import TrainedStudy
from jaxvae.inference.members import Fitted, fitted_members
from jaxvae.models import read_family
from jaxvae.models.model import Batch, Family, Model, Variables, make_batch, remember
from jaxvae.runs.checkpoint import restore
from jaxvae.scoring.align import RefitFactors
from jaxvae.study.assumptions import assumed_conditions
from jaxvae.study.dataset import with_units

PAST = "past_"  # before the places of leaves, in the names of arrays


@dataclass(frozen=True, repr=False)
class FittedStudy:
    """What every question to a study is asked of.

    Attributes:
        config, arrays, parameters: as `Study` has them.
        covariance: of the returns, assets × assets.
        family: of the model; None for the one that the configuration names.
    """

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    parameters: dict[str, Any]
    covariance: pd.DataFrame
    family: Family | None = None

    @cached_property
    def model(self) -> Model:
        """The model of all members."""
        return (self.family or read_family(self.config["model_config"])).build(len(self.assets))

    @property
    def assets(self) -> list[str]:
        """The study's assets, in its order."""
        return list(self.config["assets"])

    @property
    def covariates(self) -> list[str]:
        """Names of the covariates that the study was given."""
        return list(self.config["covariates"])

    @cached_property
    def refits(self) -> Fitted:
        """The seeds refitted at the chosen β."""
        return self._variables("refits")

    @cached_property
    def members(self) -> Fitted:
        """The members that the consensus rests on."""
        return self._variables("members", self.arrays["consensus_members"])

    @property
    def best_refit(self) -> Variables:
        """The variables of the likeliest refit, without a member axis."""
        place = list(np.asarray(self.refits.seed)).index(self.config["chosen"]["refit_seed"])
        best: Variables = jax.tree.map(lambda leaf: jnp.asarray(leaf[place]), self.refits.variables)
        return best

    @cached_property
    def scaler(self) -> Scaler:
        """Mean and standard deviation of the returns on `fit`."""
        return Scaler(self.arrays["scaler_mean"], self.arrays["scaler_scale"])

    @cached_property
    def consensus(self) -> consensus.Consensus:
        """What makes consensus factors of the members' factors."""
        saved: consensus.Consensus = restore(consensus.Consensus, self.parameters["consensus"])
        return saved._replace(trim=float(saved.trim))

    def table(
        self, values: Float[np.ndarray, "row asset"], index: pd.Index, like: str = "risk"
    ) -> pd.DataFrame:
        """A column an asset, with units as `with_units` gives them."""
        return with_units(pd.DataFrame(values, index=index, columns=self.assets), like)

    def no_asset(self, name: object) -> str:
        """What is said of a name that is no asset's, with the nearest that there is."""
        known = [*self.assets, *dict.fromkeys(map(str, self.config["sectors"] or ()))]
        hint = did_you_mean(str(name), known) or "; loadings.csv lists them"
        return f"{shown(name)} is no asset of the study{hint}"

    def returns(self, panel: Panel) -> Float[np.ndarray, "date asset"]:
        """The returns of the study's assets in a panel, as fractions.

        Raises:
            DataError: the panel lacks an asset, or its returns are in other units.
        """
        if absent := [asset for asset in self.assets if asset not in set(panel.assets)]:
            raise DataError(
                f"{len(absent)} of the study's {len(self.assets)} assets are missing in the panel, "
                f"{absent[0]!r} first; give every asset the study was fitted on"
            )
        returns = panel.to_frame()[self.assets]
        check_like_fit(returns, self.scaler)
        return returns.to_numpy(np.float64)

    def rows(
        self, panel: Panel, returns: Float[np.ndarray, "date asset"], n_ahead: int = 0
    ) -> Batch:
        """A panel's dates, with what the model is given of each: covariates, and earlier dates.

        Args:
            panel: holds the study's covariates.
            returns: of the study's assets on these dates.
            n_ahead: dates after the last to add, under its covariates and without returns.

        Raises:
            DataError: the panel lacks a covariate.
        """
        values = self.scaler.standardise(returns)
        known = row_conditions(panel, self.covariates, self._covariate_scaler)
        self._warn_of_far(known, pd.Index(panel.dates))
        known = np.concatenate([known, np.repeat(known[-1:], n_ahead, axis=0)])
        values = np.concatenate([values, np.full((n_ahead, values.shape[1]), np.nan)])
        return make_batch(values, known, past=remember(self.model, values)[0])

    def rows_under(self, covariates: Mapping[str, float] | pd.DataFrame | None = None) -> Batch:
        """Rows with the conditions and the past that scenarios are drawn under: those of `fit`,
        with what is assumed of the covariates (`assumed_conditions`)."""
        conditions = self.arrays["conditions"]
        if covariates is not None:
            known = (self.covariates, self._covariate_scaler)
            conditions = assumed_conditions(conditions, *known, covariates)
            # The others are those of dates that were fitted on.
            is_assumed = np.isin(self.covariates, [str(name) for name in covariates])
            assumed = np.unique(np.where(is_assumed, conditions, 0.0), axis=0)
            self._warn_of_far(assumed, pd.Index(["the assumed date"] * len(assumed)))
        nothing = np.zeros((len(conditions), len(self.assets)))
        return make_batch(nothing, conditions, past=self._remembered[0])

    @property
    def end_of_fit(self) -> tuple[Any, Any] | None:
        """The state of the model's recurrence after the last date of `fit`, and its returns; None
        of a model without one."""
        return self._remembered[1]

    @property
    def _remembered(self) -> tuple[Any, tuple[Any, Any] | None]:
        """What `remember` gave of the dates of `fit`."""
        like = jax.eval_shape(lambda: remember(self.model, np.zeros((1, len(self.assets)))))
        leaves, tree = jax.tree.flatten(like)
        found: tuple[Any, tuple[Any, Any] | None] = jax.tree.unflatten(
            tree, [self.arrays[f"{PAST}{place}"] for place in range(len(leaves))]
        )
        return found

    def _warn_of_far(self, conditions: Float[np.ndarray, "row condition"], index: pd.Index) -> None:
        """Of covariates, from standard units, that are far from those fitted on."""
        if self.covariates:
            values = self._covariate_scaler.restore(conditions)
            table = pd.DataFrame(values, index=index, columns=self.covariates)
            warn_of_far(table, self._covariate_scaler, "covariate")

    @property
    def _covariate_scaler(self) -> Scaler:
        return Scaler(self.arrays["covariate_mean"], self.arrays["covariate_scale"])

    def _variables(self, name: str, rows: np.ndarray | slice = slice(None)) -> Fitted:
        tree: Any = jax.tree.map(lambda leaf: leaf[rows], self.parameters[name])
        return Fitted(restore(Variables, tree), tree["seed"])


@runtime_checkable
class Asked(Protocol):
    """A study, to which questions are put."""

    @property
    def fitted(self) -> FittedStudy:
        """Its trained members."""


def saved_arrays(trained: TrainedStudy, arranged: RefitFactors) -> dict[str, np.ndarray]:
    """Loadings of the best refit as they are reported, scalers, and the conditions of `fit`."""
    prepared, evaluation, best = trained.prepared, trained.refits.evaluation, trained.best
    order, signs = arranged.order, arranged.signs
    fit = prepared.split.fit
    past = jax.tree.leaves((prepared.rows(fit).past, prepared.end_of_fit))
    return {
        "refit_order": order,
        "refit_signs": signs,
        "unit_loadings": np.asarray(evaluation.unit_loadings[best], np.float64)[:, order] * signs,
        "mean_loadings": np.asarray(evaluation.loadings[best], np.float64)[:, order] * signs,
        "scaler_mean": prepared.scaler.mean,
        "scaler_scale": prepared.scaler.scale,
        "conditions": prepared.conditions[fit],
        "covariate_mean": prepared.covariate_scaler.mean,
        "covariate_scale": prepared.covariate_scaler.scale,
        **{f"{PAST}{place}": np.asarray(leaf) for place, leaf in enumerate(past)},
    }


def saved_parameters(trained: TrainedStudy, joint: consensus.Consensus) -> dict[str, Any]:
    """Members, refits and what makes a consensus of the members', as nested dicts of arrays."""
    fitted = {"members": fitted_members(trained.grid.ensemble), "refits": trained.fitted}
    return {
        **{name: {**one.variables._asdict(), "seed": one.seed} for name, one in fitted.items()},
        "consensus": {**joint._asdict(), "alignment": joint.alignment._asdict()},
    }
