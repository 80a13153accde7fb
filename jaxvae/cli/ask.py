"""Commands that ask a finished study: scenarios, encode, impute, forecast, report."""

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from jaxvae.cli.options import Command, Debug, InFolder, named_numbers
from jaxvae.cli.panel import NewDates
from jaxvae.data.knowledge import read_covariates
from jaxvae.data.panel import Panel
from jaxvae.errors import LARGEST_SEED, Option, OptionError, like, option
from jaxvae.report.content import REPORT
from jaxvae.runs.files import require_new, require_new_file, whole_file, writing
from jaxvae.runs.interrupts import Interrupts, say
from jaxvae.runs.results import read_config
from jaxvae.study.compare import compare
from jaxvae.study.questions import forecasts, scenarios
from jaxvae.study.study import Study, draw_report, load_study
from jaxvae.walk.walk import draw_walk_report

KEPT = ("drop-dates", "keep")


@dataclass(frozen=True, kw_only=True)
class OutFile(Debug):
    """The option of a table's file; an existing file is refused."""

    out: Path | None = option(None, "new CSV file for the table", otherwise="standard output")

    def __post_init__(self) -> None:
        require_new_file(self.out)


@dataclass(frozen=True, kw_only=True)
class Seeded(OutFile):
    """The file, and the seed of random draws."""

    seed: int = option(0, "seed of the random draws", metavar="S", least=0, most=LARGEST_SEED)


@dataclass(frozen=True, kw_only=True)
class ScenarioOptions(Seeded, InFolder):
    """The study, the number of scenarios and what is assumed."""

    number: int = option(scenarios.NUMBER, "number of scenarios", least=1)
    given: tuple[str, ...] | None = option(
        None,
        "returns of assets, or mean returns of sectors, that the rest is drawn under, as XOM=-0.10 "
        "JPM=-0.05",
        otherwise="nothing is given",
        metavar="NAME=RETURN",
    )
    covariates: tuple[str, ...] | None = option(
        None,
        "covariates to assume of the date, in their own units; the others stay as they were on the "
        "dates the study was fitted on. Or a CSV file of all, a row a date",
        otherwise="as on the dates the study was fitted on",
        metavar="NAME=VALUE",
    )


@dataclass(frozen=True, kw_only=True)
class CompareOptions(OutFile):
    """The studies to compare, and the file."""

    folders: tuple[Path, ...] = option(
        MISSING, "folders of two or more studies of one panel", flag="", metavar="DIR"
    )


@dataclass(frozen=True, kw_only=True)
class ReportOptions(InFolder):
    """The folder of a study or a walk."""

    folder: Path = like(InFolder, "folder", MISSING, "folder of a finished study or walk")


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(OutFile, NewDates, InFolder):
    """The study, the new dates with the treatment of missing cells, and the file."""

    missing: str | None = option(
        None, "treatment of dates with missing cells", otherwise="they are refused", choices=KEPT
    )


@dataclass(frozen=True, kw_only=True)
class ImputeOptions(Seeded, NewDates, InFolder):
    """The study, the new dates, the file and the seed of draws."""


@dataclass(frozen=True, kw_only=True)
class ForecastOptions(Seeded, NewDates, InFolder):
    """The study, the dates to forecast after, the portfolio and the number of draws."""

    missing: str | None = like(EncodeOptions, "missing", None)
    weights: tuple[str, ...] | None = option(
        None,
        "weights of the portfolio, 0 for assets not named",
        otherwise="equal weights",
        metavar="ASSET=WEIGHT",
    )
    number: int = option(forecasts.DRAWS, "number of draws a date", least=forecasts.LEAST_DRAWS)
    covariance: Path | None = option(
        None, "new CSV file for the covariance of the next date", otherwise="none is written"
    )


def write_scenarios(_: Interrupts, asked: ScenarioOptions) -> None:
    """Draw returns of all assets, as fractions, from the mixture of a study's refitted seeds,
    observation noise included; under returns and covariates that are assumed, where some are
    given."""
    given = named_numbers("given", asked.given)
    study, known = load_study(asked.folder), _assumed_covariates(asked.covariates)
    drawn = study.scenarios(asked.number, given=given, covariates=known, seed=asked.seed)
    if given:
        effective, draws = drawn.attrs["effective_samples"], drawn.attrs["draws"]
        say(f"effective sample size: {effective:,.0f} of {draws:,} draws")
    _write_table(drawn, asked.out)


def write_factors(_: Interrupts, asked: EncodeOptions) -> None:
    """The study's factors on new dates, in standard deviations of the dates that it was fitted on;
    nothing is refitted."""
    study = load_study(asked.folder)
    _write_table(study.encode(_new_dates(study, asked, asked.missing)), asked.out)


def write_imputed(_: Interrupts, asked: ImputeOptions) -> None:
    """The returns as they are, as fractions, and the expectation of each missing one given those
    observed on its date."""
    study = load_study(asked.folder)
    _write_table(study.impute(_new_dates(study, asked, "keep"), asked.seed), asked.out)


def write_forecast(_: Interrupts, asked: ForecastOptions) -> None:
    """Mean, volatility (std) and value at risk at 1 and 5 % of a portfolio's return, as fractions:
    a row a date of the data, forecast from the dates before it, and one, next, for the date after
    the last. The data should start well before the dates of interest."""
    require_new_file(asked.covariance)
    if asked.out and asked.covariance and asked.out.resolve() == asked.covariance.resolve():
        raise OptionError("covariance", f"{asked.out} is that of ", Option("out"), "; name another")
    study, draws = load_study(asked.folder), {"number": asked.number, "seed": asked.seed}
    weights = named_numbers("weights", asked.weights)
    panel = _new_dates(study, asked, asked.missing)
    table = study.forecast(panel, weights, **draws)
    for note in table.attrs["notes"]:
        say(note)
    _write_table(table, asked.out)
    if asked.covariance is not None:
        _write_table(study.forecast_covariance(panel, **draws), asked.covariance)


def write_comparison(_: Interrupts, asked: CompareOptions) -> None:
    """Studies of one panel side by side, by their validation dates: log-likelihood and its
    deviation over seeds in nats per date, r2 as a share of variance."""
    table = compare(asked.folders)
    if asked.out is not None:
        _write_table(table.set_index("study"), asked.out)
        return
    print(table.to_string(index=False, float_format="{:.3f}".format))
    say("log_likelihood and seed_deviation: nats per date; r2: share of variance rebuilt")
    say("validation dates; a choice that looked at test dates would flatter what it picks")


def draw_again(_: Interrupts, asked: ReportOptions) -> None:
    """Draw the figures and the report of a study or a walk again."""
    is_walk = read_config(asked.folder)["command"] == "walk"
    draw = draw_walk_report if is_walk else draw_report
    draw(asked.folder)
    print(asked.folder / REPORT)


def _new_dates(study: Study, dates: NewDates, missing: str | None) -> Panel:
    """The panel that the options name, for a study that knows what they say of it."""
    if dates.covariates and not study.config["covariates"]:
        raise OptionError("covariates", "the study was given none; leave them out")
    panel = dates.load(missing)
    for note in panel.notes:
        say(f"note: {note}")
    return panel


def _assumed_covariates(words: Sequence[str] | None) -> Any:
    """NAME=VALUE words as a dict, or the table in a file; None where there are none."""
    if words and len(words) == 1 and "=" not in words[0]:
        return read_covariates(words[0]).values
    return named_numbers("covariates", words)


def _write_table(table: Any, out: Path | None) -> None:
    """To standard output, or to a new file, which appears whole or not at all."""
    if out is None:
        with writing(Path("standard output")):
            table.to_csv(sys.stdout)
            sys.stdout.flush()
        return
    with whole_file(out) as file:
        table.to_csv(file, mode="wb")
        require_new(out, "file")


COMMANDS = {
    "scenarios": Command(
        write_scenarios,
        {
            "scenarios runs/mine --number 5000 --out scenarios.csv": "5,000 draws",
            "scenarios runs/mine --given XOM=-0.10": "what the others do where XOM loses 10 %",
        },
    ),
    "encode": Command(
        write_factors,
        {"encode runs/mine --data new.csv --out factors.csv": "factors of the dates of new.csv"},
    ),
    "impute": Command(
        write_imputed,
        {"impute runs/mine --data gaps.csv --out whole.csv": "gaps.csv without gaps"},
    ),
    "forecast": Command(
        write_forecast,
        {"forecast runs/mine --data recent.csv": "mean, volatility, value at risk"},
    ),
    "compare": Command(
        write_comparison, {"compare runs/linear runs/student": "which of the two is likelier"}
    ),
    "report": Command(draw_again, {"report runs/mine": "from the tables in runs/mine"}),
}
