"""Would a study choose other families, if they stood? On validation dates, beside those that do.

Command: python experiments/candidates.py   (about twenty minutes on 2 cores; --quick: a minute)

Each is trained as a study trains its candidates (two seeds at β = 1 on `train`, stopped by its last
fifth where anything stops it) with one number of factors a panel, and scored on `validation`; the
test part is not looked at. Its lead is over the best of the families that a study chooses from,
paired by date, with a standard error by blocks of dates. Tried:

  bent_student, bent_volatility   cubic curves under the likelihoods of `student`, `volatility`
  three_volatilities              three factors that move volatility in place of one
  residual 1, residual 10         `additive` with a perceptron of 16 units beside its curves, in
                                  which factors act together; its weights alone decay, at this rate
  linear, student: scale s        W Wᵀ + Ψ of the trained model drawn towards the identity,
                                  (1 − s) (W Wᵀ + Ψ) + s I, as the shrunk multivariate t does
  linear, student: noise s        ln Ψ drawn towards its mean over assets

The first three stand on the real panels, the residuals on draws of synthetic ones that no table
reports, the shrunk ones on all. Beside them `axes`: matched correlation, on the test dates of
twenty linear panels, of one factor analysis in several axes, which its likelihood does not tell
apart. The figures are in results/candidates.json.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from auto import interactions
from flax import linen as nn
from jaxtyping import Array
from statsmodels.multivariate.factor_rotation import rotate_factors
from support import parse, use_all_cores, write_json

from jaxvae import baselines
from jaxvae.analysis.bootstrap import block_means
from jaxvae.analysis.factor_scores import matched_scores
from jaxvae.analysis.matching import compare_on
from jaxvae.data.named import load_french, load_sp500
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.prepare import prepare
from jaxvae.fitting.presets import PRESETS
from jaxvae.inference.evaluation import estimate_members
from jaxvae.inference.members import fitted_members
from jaxvae.models.layers import Perceptron, dense
from jaxvae.models.likelihoods import FIRST_VOLATILITY, degrees_of_freedom, log_first_df
from jaxvae.models.static import AdditiveConfig, AdditiveDecoder
from jaxvae.models.student_t import IndependentT
from jaxvae.selection.candidates import (
    CandidateModel,
    CandidateScores,
    mixture_of_seeds,
    train_candidate,
    train_seeds,
)
from jaxvae.training.optimiser import scale_by_given_rate
from jaxvae.training.streams import Stream

SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)
NOISE_SHARES = (0.25, 0.5, 1.0)
DECAYS = (1.0, 10.0)
VOLATILITIES = 3
RESIDUAL_WIDTH = 16
RACING = ("linear", "student", "volatility", "additive", "static")
AXES_DRAWS = range(1, 21)


class ResidualDecoder(AdditiveDecoder):
    """g(z) = Σ_k curve_k(z_k) + b + perceptron(z)."""

    def location(self, factors: Array, batch, training: bool) -> Array:
        hidden = Perceptron((RESIDUAL_WIDTH,), "none", name="residual")(
            factors, batch.weights, training
        )
        curves = super().location(factors, batch, training)
        return curves + dense(self.n_assets, RESIDUAL_WIDTH, "residual_out")(hidden)


@dataclass(frozen=True)
class ResidualConfig(AdditiveConfig):
    def decoder(self, n_assets: int) -> ResidualDecoder:
        return ResidualDecoder(n_assets, self)


class VolatilitiesDecoder(AdditiveDecoder):
    """x_a = exp(½ Σ_j l_aj z_j) [g_a(z_4, …) + Ψ_a^½ ε_a],  ε_a ~ t_{ν_a}, with j = 1, 2, 3."""

    @nn.compact
    def __call__(self, factors: Array, batch, training: bool, n_used: Array) -> IndependentT:
        shape = (VOLATILITIES, self.n_assets)
        first = nn.initializers.normal(FIRST_VOLATILITY)
        loadings = self.param("volatility", first, shape)
        moves = factors[:, :VOLATILITIES] @ loadings
        location = self.location(factors[:, VOLATILITIES:], batch, training)
        df = degrees_of_freedom(self.param("log_df", log_first_df, (self.n_assets,)))
        mean = jnp.exp(0.5 * moves) * location
        df = jnp.broadcast_to(df[None, :], mean.shape)
        return IndependentT(mean, self.log_noise(batch) + moves, df)


@dataclass(frozen=True)
class VolatilitiesConfig(AdditiveConfig):
    @property
    def axes_are_free(self) -> bool:
        return False

    def decoder(self, n_assets: int) -> VolatilitiesDecoder:
        return VolatilitiesDecoder(n_assets, self)


def decaying(rate: float) -> optax.GradientTransformation:
    """The package's chain, but for the weights that decay: the residual's alone."""

    def residual(parameters):
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: "residual" in str(path) and leaf.ndim > 1, parameters
        )

    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(),
        optax.add_decayed_weights(rate, mask=residual),
        scale_by_given_rate(),
    )


def residual_preset(rate):
    additive = PRESETS["additive"]
    train = replace(additive.train, optimiser=decaying(rate))
    return additive._replace(model=ResidualConfig(degree=3), train=train)


# A trial, the factors it has beside those that move returns, and how it is trained.
HEAVY = {
    "bent_student": (
        0,
        PRESETS["student"]._replace(
            model=AdditiveConfig(degree=3, likelihood="student"), learning_rate=1e-2
        ),
    ),
    "bent_volatility": (
        1,
        PRESETS["volatility"]._replace(model=AdditiveConfig(degree=3, likelihood="volatility")),
    ),
    "three_volatilities": (
        VOLATILITIES,
        PRESETS["volatility"]._replace(model=VolatilitiesConfig(likelihood="volatility")),
    ),
}
BENT = {f"residual {rate:g}": (0, residual_preset(rate)) for rate in DECAYS}
STANDING = {name: (int(name == "volatility"), PRESETS[name]) for name in RACING}
# With code of their own, and two families that stand.
QUICK = ("linear", "student", "three_volatilities", "residual 1")


def panels(quick):
    """Name, panel, factors that move returns, and what is tried on it."""
    if quick:
        small = {"n_dates": 150, "n_assets": 8, "n_factors": 2}
        yield "nonlinear, draw 7", nonlinear_panel(7, **small)[0], 2, {**HEAVY, **BENT}
        return
    yield "french", load_french(), 12, HEAVY
    for draw in (10, 11):
        yield f"interactions, draw {draw}", interactions(draw, (1000, 60)), 6, BENT
    for draw in (7, 8):
        yield f"nonlinear, draw {draw}", nonlinear_panel(draw)[0], 6, BENT
    yield "linear, draw 7", linear_panel(7)[0], 5, BENT
    yield "sp500", load_sp500(), 9, HEAVY


def candidate(panel, name, preset, n_factors, quick):
    """A family on a panel, as a study that chooses prepares it."""
    model = replace(preset.model, n_factors=n_factors)
    prepared = prepare(panel, StudyConfig(model=model))
    train = replace(preset.train, batch_size=prepared.preset.train.batch_size)
    if quick:
        train = replace(train, epochs=2, warmup_epochs=0, curriculum_epochs=0)
    told = prepared.preset
    return CandidateModel(
        name,
        prepared._replace(preset=preset._replace(model=told.model, train=train)),
        0,
    )


def scores_of(panel, name, extra, preset, n_factors, quick):
    """Log-likelihood of each validation date, of the mixture of the seeds."""
    one = candidate(panel, name, preset, n_factors + extra, quick)
    found = train_candidate(one, [n_factors + extra], lambda where: None)
    jax.clear_caches()
    return mixture_of_seeds(found)[0]


def shrunk_scores(panel, name, n_factors, quick):
    """The same of a linear family whose scale is drawn towards the identity, or whose noise is
    towards its mean over assets."""
    one = candidate(panel, name, PRESETS[name], n_factors, quick)
    prepared, model = one.prepared, one.prepared.model
    ensemble, _ = train_seeds(one, [n_factors], lambda where: None)
    rows, key = prepared.rows(prepared.split.validation), Stream.EVALUATION.key(0)
    decoder = ensemble.variables.parameters["decoder"]
    log_noise, terms = decoder["log_variance"], decoder["curves"]["terms"]["kernel"]

    def scored(log_noise, terms):
        changed = {**decoder, "log_variance": log_noise, "curves": {"terms": {"kernel": terms}}}
        parameters = {**ensemble.variables.parameters, "decoder": changed}
        members = fitted_members(
            ensemble._replace(variables=ensemble.variables._replace(parameters=parameters))
        )
        likelihood = estimate_members(key, model, members, rows, 1)
        return mixture_of_seeds(CandidateScores(np.asarray(likelihood.value, np.float64)[None]))[0]

    for share in SHARES:
        noise = np.log((1.0 - share) * np.exp(log_noise) + share)
        yield f"{name}, scale {share:g}", scored(noise, np.sqrt(1.0 - share) * terms)
    mean = log_noise.mean(axis=-1, keepdims=True)
    for share in NOISE_SHARES:
        yield f"{name}, noise {share:g}", scored((1.0 - share) * log_noise + share * mean, terms)


def leads(scores):
    """Of each trial: its score and its lead over the best family that stands, with its error."""
    racing = [name for name in RACING if name in scores]
    best = max(racing, key=lambda name: np.nan_to_num(scores[name].mean(), nan=-np.inf))
    rows = {}
    for name, of_dates in scores.items():
        lead = of_dates - scores[best]
        error = block_means(np.random.default_rng(0), lead[:, None], block_length=None).std()
        rows[name] = {
            "log_likelihood": float(of_dates.mean()),
            "lead": float(lead.mean()),
            "error": float(error),
        }
    return {"best": best, "rows": rows}


def axes_of(draw):
    """Matched correlation of one factor analysis, turned: Wᵀ Ψ⁻¹ W diagonal, Wᵀ W diagonal,
    varimax; and of the principal components."""
    panel, truth = linear_panel(draw)
    split = split_dates(panel.n_dates)
    values = fit_scaler(panel.values[split.fit]).standardise(panel.values)
    n_factors = truth.factors.shape[1]
    law = baselines.fit_factor_analysis(values[split.fit], n_factors)
    loadings, noise = law.form.loadings, law.form.noise
    loadings = loadings if len(loadings) == panel.n_assets else loadings.T

    def score(codes):
        return matched_scores(compare_on(codes, truth.factors, split.fit, split.test)).mcc

    def turned(rotation):
        w = loadings @ rotation
        precision = np.eye(n_factors) + w.T @ (w / noise[:, None])
        return score((values - law.mean) @ (w / noise[:, None]) @ np.linalg.inv(precision))

    weighed = (loadings / noise[:, None]).T @ loadings
    components = np.linalg.svd(values[split.fit] - law.mean, full_matrices=False)[2][:n_factors]
    return {
        "information": turned(np.linalg.eigh(weighed)[1]),
        "variance": turned(np.linalg.eigh(loadings.T @ loadings)[1]),
        "varimax": turned(rotate_factors(loadings, "varimax")[1]),
        "pca": score(values @ components.T),
    }


def main() -> None:
    arguments = parse(__doc__)
    use_all_cores()
    quick = arguments.quick
    draws = [axes_of(draw) for draw in list(AXES_DRAWS)[: 2 if quick else None]]
    results = {"quick": quick, "axes": draws, "panels": {}}
    for name, panel, n_factors, tried in panels(quick):
        scores = {
            trial: scores_of(panel, trial, extra, preset, n_factors, quick)
            for trial, (extra, preset) in {**STANDING, **tried}.items()
            if trial in QUICK or not quick
        }
        for family in ("linear", "student"):
            scores |= dict(shrunk_scores(panel, family, n_factors, quick))
        results["panels"][name] = leads(scores)
        for trial, row in results["panels"][name]["rows"].items():
            print(f"{name:24s} {trial:22s} {row['lead']:+.3f} ± {row['error']:.3f}", flush=True)
        write_json(arguments.out, "candidates", results)


if __name__ == "__main__":
    main()
