"""The cells of `tour.ipynb`: from a DataFrame to a decision."""

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
