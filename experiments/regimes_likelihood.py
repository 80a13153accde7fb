"""The likelihood that the true model of the panel of regimes reaches: an oracle."""

import numpy as np
from jaxtyping import Float

from jaxvae.baselines import Elliptical
from jaxvae.data.panel import Panel, Scaler
from jaxvae.data.regimes import Regimes, stationary
from jaxvae.data.synthetic import INNOVATION, PERSISTENCE, Truth


def regimes_log_likelihood(
    panel: Panel, truth: Truth, regimes: Regimes, scaler: Scaler
) -> Float[np.ndarray, " date"]:
    """One-step-ahead log-likelihood under the true model, nats a date in the scaler's units:

        log Σ_s P(s_t = s | r_1 … r_{t-1}) N(r_t; 0, c_s² (B V Bᵀ + diag w²))

    by Hamilton's (1989) filter, V the factors' stationary variances. Dates are taken as independent
    given the regime, which leaves out the factors' autocorrelation of .1. No model of the panel can
    beat it but by that and by luck.
    """
    spread = INNOVATION / np.sqrt(1 - PERSISTENCE**2)
    slopes = truth.loadings * truth.volatilities * spread
    covariance = slopes @ slopes.T + np.diag(truth.noise_scale**2)
    by_regime = np.stack(
        [
            Elliptical.without_factors(
                np.zeros(len(covariance)), scale**2 * covariance
            ).log_likelihood(panel.values)
            for scale in regimes.scales
        ],
        axis=1,
    )
    return _filtered(by_regime, regimes.transitions) + np.log(scaler.scale).sum()


def _filtered(
    by_regime: Float[np.ndarray, "date regime"], transitions: Float[np.ndarray, "regime regime"]
) -> Float[np.ndarray, " date"]:
    expected = stationary(transitions)
    scores = np.empty(len(by_regime))
    for date, row in enumerate(by_regime):
        top = row.max()
        joint = expected * np.exp(row - top)
        scores[date] = top + np.log(joint.sum())
        expected = joint / joint.sum() @ transitions
    return scores
