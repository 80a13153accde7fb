"""The cells of `research.ipynb`: the research side."""

RESEARCH = [
    """%%
# The research side

A training run is one pure function, `jaxvae.fit`; a model is a value that holds functions. So a
Flax module and a likelihood of one's own go in by being passed, and `vmap` and `grad` go around
the whole of training.
""",
    """
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import linen as nn
from scipy import stats

import jaxvae

N_ASSETS, N_FACTORS, WIDTH = 12, 2, 16
panel, _ = jaxvae.linear_panel(0, n_dates=300, n_assets=N_ASSETS, n_factors=N_FACTORS, n_sectors=3)
split = jaxvae.split_dates(panel.n_dates)
values = jaxvae.fit_scaler(panel.values[split.fit]).standardise(panel.values)
train, validation, test = (
    jaxvae.make_batch(values[rows]) for rows in (split.train, split.validation, split.test)
)
data = jaxvae.Data(train, validation)
""",
    """%%
## A likelihood

A distribution has `mean`, `variance`, `log_prob` and `sample`. The tails of a logistic law are
heavier than a normal's, and it is smooth.
""",
    """
class Logistic(jaxvae.Distribution):
    mean: jax.Array
    scale: jax.Array

    @property
    def variance(self):
        return (jnp.pi * self.scale) ** 2 / 3.0

    def log_prob(self, values, used):
        distance = (values - self.mean) / self.scale
        cost = distance + 2.0 * jax.nn.softplus(-distance) + jnp.log(self.scale)
        return -jnp.sum(used * cost, axis=-1)

    def sample(self, key):
        return self.mean + self.scale * jax.random.logistic(key, self.mean.shape)
""",
    """%%
## A Flax module

A hidden layer whose units a mask switches off: one shape for every width, so that widths can be
mapped over.
""",
    """
class Perceptron(nn.Module):
    size: int

    @nn.compact
    def __call__(self, rows, mask):
        hidden = jnp.tanh(nn.Dense(WIDTH)(rows))
        return nn.Dense(self.size)(mask[None, :] * hidden)


def make_model(n_assets, mask=None):
    # The mask says which hidden units are used.
    mask = jnp.ones(WIDTH) if mask is None else mask
    encoder, decoder = Perceptron(2 * N_FACTORS), Perceptron(n_assets)

    def initialise(key, batch):
        key_encoder, key_decoder = jax.random.split(key)
        parameters = {
            "encoder": encoder.init(key_encoder, batch.values, mask)["params"],
            "decoder": decoder.init(key_decoder, batch.values[:, :N_FACTORS], mask)["params"],
            "log_scale": jnp.zeros(n_assets),
        }
        return jaxvae.Variables(parameters, {}, jnp.ones(N_FACTORS))

    def encode(variables, batch, training):
        outputs = encoder.apply({"params": variables.parameters["encoder"]}, batch.values, mask)
        mean, log_variance = jnp.split(outputs, 2, axis=-1)
        used = variables.factor_mask[None, :]
        return jaxvae.Gaussian(used * mean, used * log_variance), variables

    def decode(variables, factors, batch, training):
        parameters, used = variables.parameters, variables.factor_mask[None, :]
        mean = decoder.apply({"params": parameters["decoder"]}, used * factors, mask)
        scale = jnp.broadcast_to(jnp.exp(parameters["log_scale"])[None, :], mean.shape)
        return Logistic(mean, scale), variables

    def prior(variables, factors, batch):
        zeros = jnp.zeros_like(factors)
        return jaxvae.Gaussian(zeros, zeros)

    return jaxvae.Model(N_FACTORS, initialise, encode, decode, prior)
""",
    """%%
## One run

Early stopping is off, and β does not warm up, so that the last epoch is the answer.
""",
    """
config = jaxvae.TrainConfig(epochs=100, warmup_epochs=0, patience=None)
model, key = make_model(N_ASSETS), jax.random.key(0)
given = jaxvae.make_hyperparameters(data, model, config, learning_rate=1e-2)

run = jax.jit(functools.partial(jaxvae.fit, model=model, config=config))
state, losses = run(key, data, given)
estimate = jax.jit(functools.partial(jaxvae.log_likelihood, model=model, n_samples=256))
scores = estimate(key, variables=state.best, batch=test)
print(f"objective on validation dates: {losses.validation[0]:.2f} → {losses.validation[-1]:.2f}")
print(f"log p(x) of a test date: {scores.value.mean():.2f} nats")
""",
    """%%
The likelihood is importance sampled. Two factors can be integrated on a grid, too:
""",
    """
points = np.linspace(-5.0, 5.0, 101)
grid = np.stack(np.meshgrid(points, points), axis=-1).reshape(-1, 2)
law, _ = model.decode(state.best, jnp.asarray(grid, jnp.float32), test, False)
mean, scale = np.asarray(law.mean, float), np.asarray(law.scale, float)
log_law = stats.logistic.logpdf(values[split.test][:, None, :], mean, scale)
log_joint = log_law.sum(axis=-1) - (grid**2).sum(axis=-1) / 2
exact = np.log(np.exp(log_joint).sum(axis=1) * 0.1**2 / (2 * np.pi))
print(f"by quadrature: {exact.mean():.2f} nats")
""",
    """%%
## `vmap` over learning rates and widths

Masks and rates are arrays, and the mask may be a tracer that the model's functions close over.
Twelve runs are one program.
""",
    """
def final(rate, width):
    sized = make_model(N_ASSETS, (jnp.arange(WIDTH) < width).astype(jnp.float32))
    _, losses = jaxvae.fit(key, data, given._replace(learning_rate=rate), sized, config)
    return losses.validation[-1]


rates, widths = jnp.array([1e-3, 3e-3, 1e-2, 3e-2]), jnp.array([2, 6, 16])
over_widths = jax.vmap(final, in_axes=(None, 0))
table = jax.jit(jax.vmap(over_widths, in_axes=(0, None)))(rates, widths)
rows, columns = [f"rate {rate:g}" for rate in rates], [f"width {n}" for n in widths]
pd.DataFrame(np.asarray(table, float), rows, columns).round(2)
""",
    """%%
## `grad` through training

How does the objective on validation dates, after a short run, move with the learning rate, with
β, and with the weight of each training date? One backward pass tells all of it; differences
confirm the first two. A likelihood with a kink would not do: what its curvature does to a step, a
derivative does not see.
""",
    """
short = jaxvae.TrainConfig(epochs=10, warmup_epochs=0, patience=None)


def outcome(rate, beta, row_weights):
    changed = given._replace(learning_rate=rate, beta=beta, row_weights=row_weights)
    _, losses = jaxvae.fit(key, data, changed, model, short)
    return losses.validation[-1]


at = (jnp.float32(1e-2), jnp.float32(1.0), given.row_weights)
slopes = jax.jit(jax.grad(outcome, argnums=(0, 1, 2)))(*at)
objective = jax.jit(outcome)
for name, index, step in (("the learning rate", 0, 1e-4), ("β", 1, 1e-2)):
    moved = [[*at[:index], at[index] + sign * step, *at[index + 1 :]] for sign in (1, -1)]
    higher, lower = (objective(*one) for one in moved)
    difference = (higher - lower) / (2 * step)
    print(f"by {name}: {slopes[index]:.3f}; by differences: {difference:.3f}")
""",
    """
influence = pd.Series(slopes[2], panel.dates[split.train])
worst = influence.nlargest(3)
print("training dates whose weight costs most on validation dates:")
for date, slope in worst.items():
    print(f"  {date:%Y-%m-%d}: {slope:+.4f} nats for a unit of weight")
""",
    """%%
## The same model in a study

`run_study` takes what makes a model for a number of assets, and trains, aligns, scores and
reports it as any of its own.
""",
    """
study = jaxvae.run_study(panel, model=make_model, seeds=2, betas=(1.0,), epochs=100, progress=False)
rows = study.metrics[(study.metrics.metric == "log_likelihood") & (study.metrics.split == "test")]
names = ["vae_ensemble", "factor_analysis_best", "multivariate_t"]
rows[rows.model.isin(names)].set_index("model")[["value"]].round(2)
""",
]
