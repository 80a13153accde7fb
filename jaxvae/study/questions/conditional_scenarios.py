"""Scenarios of all assets where the returns of some, or of whole sectors, are given."""

import difflib
import warnings
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis.resampling import (
    effective_sample_size,
    normalised_weights,
    systematic_resample,
)
from jaxvae.errors import OptionError, check_option
from jaxvae.inference.conditioning import Given, draw_given
from jaxvae.inference.members import ask
from jaxvae.inference.scenarios import even_rows
from jaxvae.study.config import check_seed
from jaxvae.study.questions.fitted import FittedStudy
from jaxvae.study.questions.panels import require_room
from jaxvae.training.streams import Stream

SAMPLES = 64
LEAST_ROWS = 256
# Weighted draws for each scenario: enough that few come twice.
DRAWS_A_SCENARIO = 8
LEAST_EFFECTIVE = 100
LEAST_SHARE = 0.01
FAR = 15.0


def scenarios_given(
    fitted: FittedStudy,
    given: Mapping[str, float],
    number: int,
    seed: int = 0,
    covariates: Mapping[str, float] | pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Draws of all assets' returns where some are known, p(x | y), scenarios × assets.

    From the equal mixture of the refitted seeds at the chosen configuration, each counting by how
    likely it finds what is given; by importance sampling (`conditioning.draw_given`), and then
    picking draws by their weights. The same seed gives the same scenarios.

    given: return by asset, or by sector for the plain mean of its assets, as fractions.
    covariates: as in `study.scenarios`; each date of `fit` counts by how likely what is given is
        under its conditions.

    Raises OptionError on a name that the study does not know, an asset that is given twice (alone
    and in its sector), a return that is not finite, or nothing left to draw. Warns where few draws
    carry the weight, since scenarios then repeat them.
    """
    if not given:
        raise OptionError("given", "nothing is; name an asset and its return")
    check_option("number", number, least=1)
    check_seed(seed)
    portfolios, returns = _portfolios(fitted, given)
    model, refits = fitted.model, fitted.refits
    draws = DRAWS_A_SCENARIO * number
    require_room(number, draws * len(fitted.assets))
    n_rows = max(LEAST_ROWS, -(-draws // (SAMPLES * len(refits.seed))))
    shared = {
        "key": jax.random.key(seed),
        "batch": even_rows(fitted.rows_under(covariates), n_rows),
        "given": _standardised(fitted, portfolios, returns),
    }
    found = ask(draw_given, refits, shared, own_draws=True, model=model, n_samples=SAMPLES)
    weights = normalised_weights(np.asarray(found.log_weights, np.float64))
    effective = effective_sample_size(weights)
    _warn_if_far(fitted, portfolios, returns, list(given))
    _warn_if_few(effective, len(weights), number)
    picked = systematic_resample(Stream.RESAMPLING.generator(seed), weights, number)
    values = np.asarray(found.values, np.float64)
    values = fitted.scaler.restore(values.reshape(-1, values.shape[-1])[picked])
    exact = portfolios.sum(axis=1) == 1.0
    values[:, portfolios[exact].argmax(axis=1)] = returns[exact]
    index = pd.RangeIndex(number, name="scenario")
    table = pd.DataFrame(values, index=index, columns=fitted.assets)
    table.attrs = {"effective_samples": effective, "draws": len(weights)}
    return table


def _warn_if_far(
    fitted: FittedStudy,
    portfolios: Float[np.ndarray, "portfolio asset"],
    returns: Float[np.ndarray, " portfolio"],
    names: list[str],
) -> None:
    shares = portfolios / portfolios.sum(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("pa,ab,pb->p", shares, fitted.covariance.to_numpy(), shares))
    far = np.abs(returns - shares @ fitted.scaler.mean) / spread
    most = int(far.argmax())
    if far[most] > FAR:
        warnings.warn(
            f"{names[most]}={returns[most]:g} is {far[most]:,.0f} standard deviations "
            "from its mean; no model knows what happens there (returns are fractions: -0.10 is "
            "-10 %)",
            stacklevel=3,
        )


def _portfolios(
    fitted: FittedStudy, given: Mapping[str, float]
) -> tuple[Float[np.ndarray, "portfolio asset"], Float[np.ndarray, " portfolio"]]:
    """1 where an asset is in a portfolio, and the returns given."""
    assets = np.array(fitted.assets)
    sectors = np.array([str(sector) for sector in fitted.config["sectors"] or ()])
    rows = []
    for name, value in given.items():
        if not np.isfinite(value):
            raise OptionError("given", f"{name}={value} is not a number; give a return, as -0.05")
        held = assets == name
        held = held if held.any() or not len(sectors) else sectors == name
        if not held.any():
            raise OptionError("given", f"{name!r} is no asset of the study{_hint(name, fitted)}")
        rows.append(held)
    portfolios = np.array(rows, np.float64).reshape(len(rows), len(assets))
    if (twice := portfolios.sum(axis=0) > 1).any():
        name = assets[int(np.argmax(twice))]
        raise OptionError("given", f"{name} comes alone and in its sector; keep one of the two")
    if (portfolios.sum(axis=1) == 1).sum() == len(assets):
        raise OptionError("given", "every asset is; leave out those to draw")
    return portfolios, np.array(list(given.values()), np.float64)


def _hint(name: str, fitted: FittedStudy) -> str:
    """The nearest name that there is."""
    known = [*fitted.assets, *{str(one) for one in fitted.config["sectors"] or ()}]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {nearest[0]}?" if nearest else "; loadings.csv lists them"


def _standardised(
    fitted: FittedStudy,
    portfolios: Float[np.ndarray, "portfolio asset"],
    returns: Float[np.ndarray, " portfolio"],
) -> Given:
    """Means of assets' returns as weighted sums of their standard units; over the root of the sum
    of squared weights, so that numbers stay near 1."""
    scaler = fitted.scaler
    shares = portfolios / portfolios.sum(axis=1, keepdims=True)
    weights, centred = shares * scaler.scale, returns - shares @ scaler.mean
    size = np.sqrt((weights**2).sum(axis=1))
    as_float = (weights / size[:, None], centred / size)
    return Given(*(jnp.asarray(part, jnp.float32) for part in as_float))


def _warn_if_few(effective: float, draws: int, number: int) -> None:
    if effective < max(LEAST_EFFECTIVE, LEAST_SHARE * draws):
        warnings.warn(
            "few draws fit what is given: the effective sample size is "
            f"{effective:,.0f} of {draws:,} draws, and the {number:,} scenarios repeat those few; "
            "a higher number draws more",
            stacklevel=3,
        )
