"""What the notebooks hold, cell by cell: see `notebooks.py`, which builds and runs them.

A cell that begins with "%%" is text, without that word; every other one is code.
"""

TOUR = [
    """%%
# From returns to a decision

Twenty stocks, five years of daily returns. Which factors drive them, are the factors real, and
what should the holder of an equal-weighted portfolio do about a crash of oil?

The panel comes with the extra `data` (`pip install 'jaxvae[data]'`); any DataFrame of returns,
dates × assets, takes its place.
""",
    """
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import jaxvae

returns = jaxvae.load_sp500().to_frame().loc["2018":]
returns.iloc[-3:, :8].round(4)
""",
    """%%
## Before anything is trained

`plan_study` checks the panel and says what would be trained. Without `model` and `n_factors` a
study chooses both on validation dates, which takes some minutes; here they are given: Student-t
noise, four factors.
""",
    """
settings = {"model": "student", "n_factors": 4, "seeds": 4, "betas": (1.0,)}
jaxvae.plan_study(returns, **settings, progress=False)
""",
    """%%
## A study

Four seeds are trained on the first 56 % of dates as one compiled program, refitted with the
validation dates, aligned, and scored on the last 30 %, which no choice has seen. What is printed
answers the three questions of the report.
""",
    """
study = jaxvae.run_study(returns, **settings, progress=False)
study
""",
    """%%
## Are the factors real?

A factor that every seed finds is no accident of a start: its stability is 1 where all seeds find
the same.
""",
    """
study.plot.agreement()
""",
    """%%
And the likelihood of test dates beside classical models, in nats a date. An interval that holds
zero says that the two are level.
""",
    """
columns = ["model", "baseline", "difference", "low_widest", "high_widest"]
leads = study.comparisons[study.comparisons.model == "vae_ensemble"]
leads[columns].round(2)
""",
    """%%
## What they are

Loadings are returns per standard deviation of a factor. The first is the market: all stocks go
with it.
""",
    """
study.plot.loadings()
""",
    """
largest = {
    factor: ", ".join(study.loadings[factor].abs().nlargest(4).index) for factor in study.loadings
}
pd.Series(largest, name="largest loadings")
""",
    """%%
## Risk

The covariance is in the returns' own units. Of each stock's variance on test dates, the factors
leave a share to the stock itself.
""",
    """
split = jaxvae.split_dates(len(returns))
fit, test = returns.iloc[split.fit], returns.iloc[split.test]
left = test - study.factors.loc[test.index] @ study.loadings.T
volatility = pd.Series(np.sqrt(252 * np.diag(study.covariance)), returns.columns)
risk = pd.DataFrame({"volatility a year": volatility, "specific share": left.var() / test.var()})
risk.sort_values("specific share").round(2)
""",
    """%%
## Decision 1: whom to hold

Minimum-variance weights come from the covariance, which knows nothing of the test dates. Did they
move less there than equal weights, and than those of Ledoit and Wolf's covariance?
""",
    """
from sklearn.covariance import LedoitWolf


def minimum_variance(covariance):
    weights = np.linalg.solve(covariance, np.ones(len(covariance)))
    return pd.Series(weights / weights.sum(), returns.columns)


portfolios = {
    "study": minimum_variance(study.covariance),
    "Ledoit-Wolf": minimum_variance(LedoitWolf().fit(fit).covariance_),
    "equal": pd.Series(1 / len(returns.columns), returns.columns),
}
realised = {name: (test @ weights).std() * np.sqrt(252) for name, weights in portfolios.items()}
pd.Series(realised, name="volatility a year, test dates").round(4)
""",
    """%%
## Decision 2: a hedge

Oil crashes: XOM loses 10 % in a day. Scenarios under that condition come from the model's own
law, fat tails included. What does it do to equal weights, and how much CVX sold short makes the
worst twentieth of days least bad?
""",
    """
shock = study.scenarios(4000, given={"XOM": -0.10}, seed=1)
held = shock @ portfolios["equal"]


def worst_twentieth(outcomes):
    return outcomes[outcomes <= outcomes.quantile(0.05)].mean()


sizes = np.linspace(0.0, 1.0, 51)
losses = pd.Series({size: worst_twentieth(held - size * shock["CVX"]) for size in sizes})
calm = study.scenarios(4000, seed=1)
usual = {size: worst_twentieth(calm @ portfolios["equal"] - size * calm["CVX"]) for size in sizes}

figure, axes = plt.subplots(figsize=(6, 3), dpi=80, layout="constrained")
axes.plot(100 * sizes, 100 * losses, label="XOM at −10 %")
axes.plot(100 * sizes, 100 * pd.Series(usual), label="any day")
axes.set_xlabel("CVX sold short, % of the portfolio")
axes.set_ylabel("mean of the worst 5 %, %")
axes.legend(frameon=False)
plt.close(figure)
figure
""",
    """
size = losses.idxmax()
pd.Series(
    {
        "effective sample size": round(shock.attrs["effective_samples"]),
        "CVX sold short": f"{size:.0%}",
        "worst 5 % of shock days, unhedged": f"{losses[0.0]:.1%}",
        "worst 5 % of shock days, hedged": f"{losses[size]:.1%}",
        "worst 5 % of any days, unhedged": f"{usual[0.0]:.1%}",
        "worst 5 % of any days, hedged": f"{usual[size]:.1%}",
    },
    name="hedge",
)
""",
    """%%
The last two rows say what the same hedge does to any day: hold as much of it as both lines allow.

## Keep it

`study.save("runs/mine")` writes tables, parameters and report into a folder,
`study.report("page.html")` the report as one page; `jaxvae.load_study("runs/mine")` reads it
back. What else it can be asked: `encode` for the factors of new dates, `impute` for gaps,
`forecast`, `paths`.
""",
]

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
