"""A panel made ready: split by time, standardised, its model built for what is known of it."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxvae.analysis.incomplete import is_incomplete
from jaxvae.data.checks import check_panel
from jaxvae.data.knowledge import sector_numbers
from jaxvae.data.panel import Panel, Scaler, Split, fit_scaler, split_dates
from jaxvae.errors import Option, OptionError
from jaxvae.fitting.conditions import (
    fit_conditions,
    require_knowledge,
    row_conditions,
)
from jaxvae.fitting.config import AUTO, StudyConfig, preset_of
from jaxvae.fitting.presets import Preset, model_name
from jaxvae.models.distributions import Distribution
from jaxvae.models.model import Batch, Model, make_batch, remember

# Chosen on validation dates of draws of the synthetic panels that are not reported; see
# experiments/missing.py.
HIDDEN_CELLS = 0.25


class Prepared(NamedTuple):
    """A panel made ready: `values` (NaN where a cell is missing), `conditions` and `batch` hold all
    dates in standard units; the batch's weights are 1 in `fit`, else 0. covariates: names of the
    conditions, and their scaler's place and scale in `covariate_scaler`. end_of_fit, end: where
    `remember` ends with `fit` and with the panel; None of a model without a recurrence. config: the
    settings of the study."""

    panel: Panel
    split: Split
    scaler: Scaler
    values: Float[np.ndarray, "date asset"]
    conditions: Float[np.ndarray, "date condition"]
    batch: Batch
    preset: Preset
    model: Model
    covariates: list[str]
    covariate_scaler: Scaler
    end_of_fit: tuple[Any, Any] | None
    end: tuple[Any, Any] | None
    config: StudyConfig

    def rows(self, dates: slice) -> Batch:
        """Some dates, each of weight 1."""
        past = jax.tree.map(lambda leaf: np.asarray(leaf)[dates], self.batch.past)
        return make_batch(self.values[dates], self.conditions[dates], past=past)


def prepare(panel: Panel, config: StudyConfig, split: Split | None = None) -> Prepared:
    """Check the panel, split, standardise by `fit`, build the model for what is known of dates and
    assets; a batch never exceeds the training rows. split: of the dates, by default `split_dates`.

    Raises DataError on too few dates, or a column with too few cells or that does not vary.
    """
    preset = preset_of(config)
    plain = preset.model.build(panel.n_assets)
    check_panel(panel.to_frame(), plain.n_factors)
    split = split_dates(panel.n_dates) if split is None else split
    scaler = fit_scaler(panel.values[split.fit])
    values = scaler.standardise(panel.values)
    if preset.needs_context:
        require_knowledge(panel, model_name(config.model))
    known = fit_conditions(panel, split.fit, plain.facts)
    # What the test part lacks changes nothing: whether cells are missing is a choice too.
    incomplete = is_incomplete(panel.values[split.fit])
    preset = for_cells(preset, panel.n_assets, incomplete, len(known[0]), sector_numbers(panel))
    preset = in_batches(preset, split.train.stop)
    model = preset.model.build(panel.n_assets)
    if config.n_factors not in (AUTO, model.n_factors):
        raise OptionError("n_factors", f"{config.n_factors}, but the model has {model.n_factors}")
    conditions = row_conditions(panel, *known)
    in_fit = np.zeros(panel.n_dates)
    in_fit[split.fit] = 1.0
    before, end_of_fit = remember(model, values[split.fit])
    later, end = remember(model, values[split.test], end_of_fit)
    past = jax.tree.map(lambda *parts: np.concatenate(parts), before, later)
    batch = make_batch(values, conditions, in_fit, past)
    if preset.train.free_bits and not distributions_of(model, batch).prior.kl_by_factor:
        raise OptionError(
            "free_bits",
            "does not go with ",
            Option("model", model_name(config.model)),
            ", whose prior is no normal",
        )
    made = (panel, split, scaler, values, conditions, batch, preset, model)
    return Prepared(*made, *known, end_of_fit, end, config)


def in_batches(preset: Preset, n_rows: int) -> Preset:
    """The preset with batches that do not exceed so many training rows."""
    batch_size = min(preset.train.batch_size, n_rows)
    return preset._replace(train=replace(preset.train, batch_size=batch_size))


def for_cells(
    preset: Preset,
    n_assets: int,
    incomplete: bool,
    n_conditions: int = 0,
    sectors: tuple[int, ...] = (),
) -> Preset:
    """The preset for returns of so many assets, given what is known of them.

    Where cells are missing training hides further ones, so that an encoder has met an asset's
    absence before the first delisting; which cells are missing plays no other part.

    Args:
        preset: a model and its training.
        n_assets: how many columns there are.
        incomplete: whether a cell that training sees is missing.
        n_conditions: covariates of each row.
        sectors: of each asset, by number.
    """
    family = preset.model.for_panel(n_conditions, sectors, incomplete)
    train = preset.train
    if incomplete and not family.build(n_assets).facts.sees_gaps:
        train = replace(train, hidden_cells=train.hidden_cells or HIDDEN_CELLS)
    return preset._replace(model=family, train=train)


class Kinds(NamedTuple):
    """The classes of a model's distributions."""

    prior: type[Distribution]
    observation: type[Distribution]


def distributions_of(model: Model, batch: Batch) -> Kinds:
    """What a model's functions give for a batch, without computing anything."""
    found: list[Kinds] = []

    def look(batch: Batch) -> None:
        variables = model.initialise(jax.random.key(0), batch)
        factors = jnp.zeros((len(batch.values), model.n_factors), batch.values.dtype)
        observation, _ = model.decode(variables, factors, batch, False)
        found.append(Kinds(type(model.prior(variables, factors, batch)), type(observation)))

    jax.eval_shape(look, batch)
    return found[0]
