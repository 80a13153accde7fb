"""The linear rate–distortion curve against parameters put in by hand, and against itself."""

import numpy as np
import pytest
from rate_distortion import beta_at_rate, linear_optimum, linear_rate_distortion

from jaxvae.analysis.second_moments import SecondMoments
from jaxvae.baselines.spectrum import fixed_noise

N_ASSETS, K = 7, 4
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(200, N_ASSETS)) @ np.diag([5.0, 3.0, 2.0, 1.0, 0.7, 0.5, 0.3])
VALUES = (VALUES - VALUES.mean(axis=0)) @ np.linalg.qr(RNG.normal(size=(N_ASSETS, N_ASSETS)))[0]
MOMENTS = SecondMoments.of(VALUES)
NOISE = RNG.uniform(0.3, 0.8, N_ASSETS)
BETAS = (0.2, 1.0, 4.0, 15.0, 200.0)


def by_hand(optimum, beta):
    """Mean KL and −E_q log p(x | z) of the optimum's own decoder and encoder on the rows."""
    strong, psi = optimum.signal_to_noise[: optimum.active], optimum.noise
    units = optimum.directions[:, : optimum.active] * np.sqrt(psi)[:, None]
    loadings = np.sqrt(psi)[:, None] * units * np.sqrt(strong - beta)
    variance = beta / strong
    mean = (VALUES / np.sqrt(psi)) @ units * np.sqrt(strong - beta) / strong
    kl = 0.5 * (mean**2 + variance - np.log(variance) - 1).sum(axis=1)
    left = (VALUES - mean @ loadings.T) ** 2 + (loadings**2 * variance).sum(axis=1)
    return kl.mean(), 0.5 * (np.log(2 * np.pi * psi) + left / psi).sum(axis=1).mean()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("kind", ["fixed", "scalar", "noise an asset"])
def test_the_point_is_that_of_the_optimums_own_parameters(beta, kind):
    if kind == "noise an asset":
        optimum = fixed_noise(MOMENTS, K, beta, NOISE)
    else:
        if kind == "scalar" and beta * K >= N_ASSETS:
            beta = 1.5
        optimum = linear_optimum(VALUES, K, beta, kind, 0.4)
    np.testing.assert_allclose(
        linear_rate_distortion(optimum, beta), by_hand(optimum, beta), rtol=1e-9
    )


@pytest.mark.parametrize("beta", [0.5, 1.5, 6.0])
def test_beta_is_the_price_of_a_nat(beta):
    """dD/dR = −β where the noise is held fixed."""
    points = [
        linear_rate_distortion(fixed_noise(MOMENTS, K, one, NOISE), one)
        for one in (beta * (1 - 1e-5), beta * (1 + 1e-5))
    ]
    (rate, distortion), (less, more) = points
    assert (more - distortion) / (less - rate) == pytest.approx(-beta, rel=1e-4)


@pytest.mark.parametrize("beta", BETAS[:-1])
def test_the_price_at_a_rate_is_the_curves_inverse(beta):
    optimum = fixed_noise(MOMENTS, K, beta, NOISE)
    rate = linear_rate_distortion(optimum, beta).rate
    assert beta_at_rate(optimum, K, rate) == pytest.approx(beta, rel=1e-9)
    assert beta_at_rate(optimum, K, rate + 0.1) < beta


def test_beyond_the_first_factors_price_nothing_is_said():
    optimum = fixed_noise(MOMENTS, K, 200.0, NOISE)
    assert optimum.active == 0
    assert linear_rate_distortion(optimum, 200.0).rate == 0
    assert beta_at_rate(optimum, K, 1e-9) == pytest.approx(optimum.signal_to_noise[0], rel=1e-6)
