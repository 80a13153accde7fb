"""Parts of one's own go through ensemble, study and report by being passed in."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laplace import Laplace
from scipy import stats

from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import OptionError
from jaxvae.fitting.config import StudyConfig
from jaxvae.models import Model, PerceptronConfig, Variables, make_batch, standard_normal_prior
from jaxvae.models.distributions import Gaussian
from jaxvae.study.run import run_study
from jaxvae.study.study import load_study
from jaxvae.training.config import TrainConfig

pytestmark = pytest.mark.slow

PANEL, _ = linear_panel(3, n_dates=120, n_assets=6, n_factors=2, n_sectors=2)
GRID = {"seeds": 2, "betas": (1.0,), "epochs": 12, "likelihood_samples": 64}


def principal_components(n_assets):
    """Probabilistic PCA with two factors, and a linear encoder."""

    def initialise(key, batch):
        loadings, weights = 0.3 * jax.random.normal(key, (2, 2, n_assets))
        free = {"loadings": loadings, "weights": weights, "log": jnp.zeros(3)}
        return Variables(free, {}, jnp.ones(2))

    def encode(variables, batch, training):
        free, mask = variables.parameters, variables.factor_mask[None, :]
        mean = batch.values @ free["weights"].T
        return Gaussian(mask * mean, mask * jnp.broadcast_to(free["log"][None, :2], mean.shape))

    def decode(variables, factors, batch, training):
        free, mask = variables.parameters, variables.factor_mask[None, :]
        mean = (mask * factors) @ free["loadings"]
        return Gaussian(mean, jnp.broadcast_to(free["log"][2], mean.shape)), variables

    def both(*known):
        return encode(*known), known[0]

    return Model(2, initialise, both, decode, standard_normal_prior)


def laplace_noise(n_assets):
    """One factor through a perceptron, with Laplace noise."""
    model = PerceptronConfig(1, widths=(4,), normalisation="none").build(n_assets)

    def decode(*known):
        normal, variables = model.decode(*known)
        return Laplace(normal.mean, jnp.sqrt(0.5 * normal.variance)), variables

    return model._replace(decode=decode)


@pytest.fixture(scope="module")
def studies():
    """By the number of factors: of what makes a model, and of a model."""
    return {
        n: run_study(PANEL, StudyConfig(model=model, n_factors=n, **GRID))
        for n, model in ((1, laplace_noise), (2, principal_components(PANEL.n_assets)))
    }


def test_a_model_of_ones_own_is_scored_as_the_gaussian_that_it_is(studies):
    study = studies[2]
    free = study.fitted.best_refit.parameters
    loadings, noise = np.asarray(free["loadings"], float), np.exp(float(free["log"][2]))
    covariance = loadings.T @ loadings + noise * np.eye(6)
    test = study.fitted.scaler.standardise(study.fitted.returns(PANEL))[84:]
    exact = stats.multivariate_normal.logpdf(test, np.zeros(6), covariance).mean()
    assert study.metric("vae_best", "log_likelihood", "test") == pytest.approx(exact, abs=0.02)


def test_a_distribution_of_ones_own_is_scored_by_quadrature(studies):
    study = studies[1]
    points = np.linspace(-6, 6, 601)
    rows = make_batch(np.zeros((601, 6)))
    at = jnp.asarray(points[:, None], jnp.float32)
    law, _ = study.fitted.model.decode(study.fitted.best_refit, at, rows, False)
    mean, scale = (np.asarray(part, float) for part in (law.mean, law.scale))
    test = study.fitted.scaler.standardise(study.fitted.returns(PANEL))[84:]
    log = stats.laplace.logpdf(test[:, None], mean, scale).sum(axis=2) + stats.norm.logpdf(points)
    exact = np.log(np.exp(log).sum(axis=1) * (points[1] - points[0])).mean()
    assert study.metric("vae_best", "log_likelihood", "test") == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize(
    ("n_factors", "words"),
    [(1, "“laplace_noise”: returns given the factors are Laplace"), (2, "“principal_components”")],
)
def test_the_report_names_the_part(studies, tmp_path, n_factors, words):
    studies[n_factors].save(tmp_path / "study")
    report = (tmp_path / "study" / "report.md").read_text("utf-8")
    assert words in report.replace("\\", "")


def test_a_study_that_was_read_back_is_asked_with_its_model(studies, tmp_path):
    studies[1].save(tmp_path / "study")
    with pytest.raises(OptionError, match="'laplace_noise' makes its model: give it to load_study"):
        load_study(tmp_path / "study").encode(PANEL)
    again = load_study(tmp_path / "study", model=laplace_noise)
    np.testing.assert_allclose(again.encode(PANEL), studies[1].factors, rtol=1e-5, atol=1e-6)
    assert np.isfinite(again.scenarios(20, given={PANEL.assets[0]: -0.02})).all(axis=None)


def test_another_number_of_factors_is_refused():
    with pytest.raises(OptionError, match="n_factors: 5, but the model has 2"):
        run_study(PANEL, StudyConfig(model=principal_components, n_factors=5, **GRID))


@pytest.fixture(scope="module")
def with_own_chain():
    """A linear model, trained by a chain of one's own at its own rates."""
    chain = optax.chain(optax.clip(1.0), optax.nadam(optax.cosine_decay_schedule(0.03, 480)))
    train = TrainConfig(epochs=240, warmup_epochs=0, patience=None, optimiser=chain)
    grid = {**GRID, "epochs": None}
    return run_study(PANEL, StudyConfig(model="linear", n_factors=2, train=train, **grid))


def test_an_optimiser_of_ones_own_reaches_factor_analysis(with_own_chain):
    """Which is the likeliest linear model of the dates that both were fitted on."""
    vae, likeliest = (
        with_own_chain.metric(model, "log_likelihood", "fit")
        for model in ("vae_best", "factor_analysis")
    )
    assert likeliest - 0.1 < vae < likeliest + 1e-3


def test_the_report_names_the_optimiser(with_own_chain, tmp_path):
    with_own_chain.save(tmp_path / "study")
    report = (tmp_path / "study" / "report.md").read_text("utf-8")
    assert "The optimiser is the caller’s own, “chain”." in report
