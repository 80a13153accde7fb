"""Scenarios of all assets, also where the returns of some, or of whole sectors, are given."""

import warnings
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.errors import OptionError, check_numbers
from jaxvae.inference.conditioning import Given, draw_given
from jaxvae.inference.members import ask
from jaxvae.inference.resampling import (
    effective_sample_size,
    normalised_weights,
    systematic_resample,
)
from jaxvae.inference.scenarios import even_rows, sample_by_mixture
from jaxvae.models.model import Batch
from jaxvae.study.draws import check_draws
from jaxvae.study.fitted import Asked, FittedStudy
from jaxvae.training.streams import Stream

SAMPLES = 64
LEAST_ROWS = 256
# Weighted draws for each scenario: enough that few come twice.
DRAWS_A_SCENARIO = 8
LEAST_EFFECTIVE = 100
LEAST_SHARE = 0.01
NUMBER = 1000
FAR = 15.0


def scenarios(
    study: Asked,
    number: int = NUMBER,
    *,
    given: Mapping[str, float] | pd.Series | None = None,
    covariates: Mapping[str, float] | pd.DataFrame | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Draws of all assets' returns, scenarios × assets, observation noise included.

    From the equal mixture of the refitted seeds at the chosen β. Under what is given, p(x | y), by
    importance sampling and picking draws by their weights, where each seed counts by how likely it
    finds what is given.

    Args:
        number: of scenarios.
        given: return by asset, or by sector for the plain mean of its assets, as fractions.
        covariates: what to assume of the date, in the covariates' own units; those not named
            stay as they were on the dates of `fit`, evenly. Or a table of all of them, whose
            rows are drawn under in turn.
        seed: the same one gives the same scenarios.

    Returns:
        The scenarios, returns as fractions; where something is given, `attrs` holds
        `effective_samples`, (Σw)²/Σw² of the weighted draws that they were picked from (Kong 1992),
        and `draws`, how many.

    Raises:
        OptionError: an unknown name, a number that is not finite, a return below -1, nothing left
            to draw.
    """
    if given is not None and not (given := check_numbers("given", given, "a return, as -0.05")):
        raise OptionError("given", "nothing is; name an asset and its return")
    if lost := [name for name, value in (given or {}).items() if value < -1]:
        raise OptionError("given", f"{lost[0]} cannot lose more than all: a return is -1 at least")
    fitted, each = study.fitted, 1 if given is None else DRAWS_A_SCENARIO
    check_draws(number, seed, each * len(fitted.assets))
    under = fitted.rows_under(covariates)
    if given is not None:
        return _scenarios_given(fitted, given, number, seed, under)
    draws = sample_by_mixture(jax.random.key(seed), fitted.model, fitted.refits, under, number)
    return _tabulate(fitted, draws)


def _scenarios_given(
    fitted: FittedStudy, given: Mapping[str, float], number: int, seed: int, under: Batch
) -> pd.DataFrame:
    """Draws where some returns are known (`conditioning.draw_given`), picked by their weights.

    Warns where few draws carry the weight, since scenarios then repeat them.
    """
    shares, returns = _portfolios(fitted, given)
    refits = fitted.refits
    n_rows = max(LEAST_ROWS, -(-DRAWS_A_SCENARIO * number // (SAMPLES * len(refits.seed))))
    shared = {
        "key": jax.random.key(seed),
        "batch": even_rows(under, n_rows),
        "given": _standardised(fitted, shares, returns),
    }
    found = ask(draw_given, refits, shared, own_draws=True, model=fitted.model, n_samples=SAMPLES)
    weights = normalised_weights(np.asarray(found.log_weights, np.float64))
    effective = effective_sample_size(weights)
    _warn_if_far(fitted, shares, returns, list(given))
    _warn_if_few(effective, len(weights), number)
    picked = systematic_resample(Stream.RESAMPLING.generator(seed), weights, number)
    values = np.asarray(found.values, np.float64)
    table = _tabulate(fitted, values.reshape(-1, values.shape[-1])[picked])
    exact = shares.max(axis=1) == 1.0
    table.iloc[:, shares[exact].argmax(axis=1)] = returns[exact]
    table.attrs |= {"effective_samples": effective, "draws": len(weights)}
    return table


def _tabulate(fitted: FittedStudy, draws: Float[np.ndarray, "scenario asset"]) -> pd.DataFrame:
    """Draws in standard units as a table of returns."""
    return fitted.table(fitted.scaler.restore(draws), pd.RangeIndex(len(draws), name="scenario"))


def _warn_if_far(
    fitted: FittedStudy,
    shares: Float[np.ndarray, "portfolio asset"],
    returns: Float[np.ndarray, " portfolio"],
    names: list[str],
) -> None:
    spread = np.sqrt(np.einsum("pa,ab,pb->p", shares, fitted.covariance.to_numpy(), shares))
    far = np.abs(returns - shares @ fitted.scaler.mean) / spread
    most = int(far.argmax())
    if far[most] > FAR:
        warnings.warn(
            f"{names[most]}={returns[most]:g} is {far[most]:,.0f} standard deviations "
            "from its mean; no model knows what happens there (returns are fractions: -0.10 is "
            "-10 %)",
            stacklevel=4,
        )


def _portfolios(
    fitted: FittedStudy, given: Mapping[str, float]
) -> tuple[Float[np.ndarray, "portfolio asset"], Float[np.ndarray, " portfolio"]]:
    """What share each asset has in a portfolio, and the returns given."""
    assets = np.array(fitted.assets)
    sectors = np.array([str(sector) for sector in fitted.config["sectors"] or ()])
    rows = []
    for name in given:
        held = assets == name
        held = held if held.any() or not len(sectors) else sectors == name
        if not held.any():
            raise OptionError("given", fitted.no_asset(name))
        rows.append(held)
    held = np.array(rows, np.float64)
    if (twice := held.sum(axis=0) > 1).any():
        name = assets[int(np.argmax(twice))]
        raise OptionError("given", f"{name} comes alone and in its sector; keep one of the two")
    sizes = held.sum(axis=1, keepdims=True)
    if (sizes == 1).sum() == len(assets):
        raise OptionError("given", "every asset is; leave out those to draw")
    return held / sizes, np.array(list(given.values()), np.float64)


def _standardised(
    fitted: FittedStudy,
    shares: Float[np.ndarray, "portfolio asset"],
    returns: Float[np.ndarray, " portfolio"],
) -> Given:
    """Means of assets' returns as weighted sums of their standard units; over the root of the sum
    of squared weights, so that numbers stay near 1."""
    scaler = fitted.scaler
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
            stacklevel=4,
        )
