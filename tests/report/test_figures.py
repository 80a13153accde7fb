"""Every figure draws, says what it shows, and survives the panels that people have."""

import re
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from example_study import ODD_TICKERS, OF_A_REFERENCE, make_study

from jaxvae.analysis import matching
from jaxvae.report import draw as style
from jaxvae.report import factor_figures, fonts, holdings, score_figures
from jaxvae.report.draw import message_of, to_png
from jaxvae.report.figures import drawings
from jaxvae.report.text import as_label, number
from jaxvae.report.words import CAPTIONS
from jaxvae.study.plots import Plots

LOW_DPI = 30
GRIDS = {
    "one of each": {
        "n_factors": 1,
        "n_seeds": 1,
        "betas": (1.0,),
        "epochs": 2,
        "n_assets": 20,
        "reference": False,
        "sectors": False,
        "tickers": ODD_TICKERS,
    },
    "512 members": {
        "n_seeds": 32,
        "betas": tuple(np.geomspace(0.1, 10, 16)),
        "epochs": 12,
        "n_dates": 200,
        "diverged": (0, 7),
        "n_factors": 2,
        "n_reference": 4,
    },
    "500 assets, 20 factors": {
        "n_assets": 500,
        "n_factors": 20,
        "n_seeds": 1,
        "n_dates": 300,
        "epochs": 20,
        "sectors": False,
        "tickers": ODD_TICKERS,
    },
}


@pytest.fixture(scope="module")
def drawn():
    return draw(make_study())


def test_a_type_checker_knows_the_figures_that_there_are():
    everything = replace(make_study(), candidates=pd.DataFrame())
    assert {*Plots.__annotations__} == {*everything.plot()}


def draw(study):
    figures = {name: drawing(study) for name, drawing in drawings(study).items()}
    for figure in figures.values():
        figure.set_dpi(LOW_DPI)
        figure.draw_without_rendering()
    return figures


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


@pytest.mark.slow
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_every_figure_draws_for_any_study(grid):
    assert_speak(draw(make_study(**grid)))


def test_every_figure_says_what_it_shows(drawn):
    assert set(drawn) == set(CAPTIONS) - {"candidates"}
    assert_speak(drawn)


def assert_speak(figures):
    for name, figure in figures.items():
        assert len(message_of(figure)) > 10, name
        assert "nan" not in " ".join(texts(figure)), name
        assert any(axes.get_xlabel() or axes.get_title(loc="left") for axes in figure.axes), name


def test_without_known_factors_their_figures_are_left_out():
    study = make_study(n_seeds=2, betas=(0.5, 1.0), n_dates=200)
    unknown = {k: array for k, array in study.arrays.items() if k not in OF_A_REFERENCE}
    left = draw(replace(study, arrays=unknown))
    assert set(CAPTIONS) - set(left) == {"matched_factors", "candidates"}


def test_one_member_has_nobody_to_agree_with():
    assert "agreement" not in drawings(make_study(n_seeds=1, betas=(1.0,)))


def test_the_map_of_agreement_says_where_its_numbers_are():
    study = make_study(diverged=(0,))
    (name,) = re.findall("“(.+?)”", CAPTIONS["agreement"])
    assert study.arrays[name].shape == 2 * (study.members.ok.sum(),)


def test_of_many_members_some_are_compared_at_even_steps(monkeypatch):
    study = make_study(diverged=(0,))
    whole = factor_figures.agreement_figure(study).axes[0].images[0].get_array()
    monkeypatch.setattr(matching, "MOST_COMPARED", 10)
    some = matching.compared_members(len(whole))
    assert len(some) == 10
    assert set(np.diff(some)) <= {len(whole) // 10, len(whole) // 10 + 1}
    arrays = {**study.arrays, "agreement": study.arrays["agreement"][np.ix_(some, some)]}
    figure = factor_figures.agreement_figure(replace(study, arrays=arrays))
    assert figure.axes[0].images[0].get_array().shape == (10, 10)
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    members = study.members[study.members.ok].iloc[some].sort_values(["beta", "seed"])
    assert names == [str(seed) for seed in members.seed]


def test_a_report_has_twelve_figures_at_most():
    assert len(CAPTIONS) == 12


def with_counts(study, **columns):
    """The same study with other numbers of factors: columns of the sizes' rows, or answers."""
    table = study.n_factors.copy()
    for name, values in columns.items():
        rows = table.kind == "size" if name in table else table.name == name
        table.loc[rows, name if name in table else "factors"] = values
    return replace(study, n_factors=table)


def test_the_number_of_factors_is_told_with_its_gain():
    assert message_of(score_figures.number_figure(make_study())) == (
        "The verdict is 5 factors; allowed 5, the VAEs use 4.8 and gain most on validation "
        "dates, +19.38 nats per date"
    )


def test_no_number_of_factors_gains_on_noise():
    unused = np.array([0.0, *[np.nan] * 5])
    levels = np.linspace(-100, -101, 6)
    study = with_counts(
        make_study(), verdict=0, held_out=0, gain=unused, low=unused, high=unused,
        log_likelihood=levels,
    )  # fmt: skip
    figure = score_figures.number_figure(study)
    assert message_of(figure).startswith("The verdict is 0 factors; no number of them gains")
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    np.testing.assert_allclose(hollow[0].get_ydata(), levels[1:] + 100)


def test_the_scree_plot_has_the_notebook_s_line_and_says_what_it_takes():
    """Shares of .3233 + .2596 + .0661 + .0546 + .0110 = .7146; ten of them stay below .9."""
    study = make_study()
    axes = score_figures.number_figure(study).axes[1]
    assert [0.9, 0.9] in [list(line.get_ydata()) for line in axes.lines]
    words = "the first 5 components explain 71 % of the returns’ variance, all 10 stay below 90 %"
    assert score_figures.scree_words(study) == words
    more = {**study.arrays, "explained_variance": np.array([0.5, 0.3, 0.05, 0.1, 0.05])}
    assert score_figures.scree_words(replace(study, arrays=more)).endswith("90 % takes 4")


def test_members_are_named_by_seed_and_the_scale_of_agreement_is_one_it_reaches():
    study = make_study(n_seeds=3, betas=(0.5, 1.0))
    axes = factor_figures.agreement_figure(study).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2"] * 2
    pairs = study.arrays["agreement"][np.triu_indices(6, 1)]
    low, high = axes.images[0].get_clim()
    assert pairs.min() - 0.1 < low <= pairs.min() < pairs.max() <= high < pairs.max() + 0.1


def test_long_curves_are_means_of_short_pieces_in_a_band():
    """Every piece's mean lies within its range, and the band touches the curve's extremes."""
    study = make_study(n_dates=1000, n_factors=2)
    axes = factor_figures.series_figure(study).axes
    values = study.factors.iloc[:, 0].to_numpy()
    (curve,) = [line for line in axes[0].lines if len(line.get_xdata()) > 2]
    assert len(curve.get_xdata()) == style.MOST_POINTS
    band = axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (values.min(), values.max())
    total = next(line for line in axes[1].lines if len(line.get_xdata()) > 2).get_ydata()
    starts = np.unique(np.linspace(0, 1000, style.MOST_POINTS + 1).astype(int))
    assert total[0] == pytest.approx(values.cumsum()[: starts[1]].mean())


def test_breaches_are_the_returns_below_the_value_at_risk():
    study = make_study()
    figure = holdings.risk_figure(study)
    assert message_of(figure) == (
        "The portfolio of equal weights fell below its value at risk at 5 % on 4.7 % and at 1 % on "
        "0.7 % of 300 test dates"
    )
    marked = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    below = [study.risk.portfolio < study.risk[name] for name in ("var_5", "var_1")]
    assert [len(line.get_xdata()) for line in marked] == [mask.sum() for mask in below]


def test_a_model_with_a_memory_shows_its_volatility_and_the_fan_of_the_next_dates():
    study = make_study()
    fan = np.linspace(-1, 1, 5)[:, None] * np.sqrt(np.arange(1, 21)) / 100
    figure = holdings.risk_figure(replace(study, arrays={**study.arrays, "fan": fan}))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[1:] == ["Volatility forecast for each date", "What the next dates may bring"]
    outer = figure.axes[2].collections[0].get_paths()[0].vertices[:, 1]
    assert outer.min() == pytest.approx(-np.sqrt(20))
    path = [line.get_ydata() for line in figure.axes[1].lines if line.get_label() == "volatility"]
    np.testing.assert_allclose(path[0], 100 * study.risk["std"])


def test_titles_fit_the_figure(drawn):
    for name, figure in drawn.items():
        box = figure._suptitle.get_window_extent()
        assert box.x1 <= figure.bbox.x1, name


def test_the_headline_states_the_numbers_of_the_comparison():
    """The widest interval: here the one that holds all comparisons at once."""
    message = message_of(score_figures.comparison_figure(make_study()))
    assert "ahead of 4 of 6 classical models and behind 0" in message
    assert "factor analysis, best K = 6 (+0.10 [−0.65, 0.90] nats per date)" in message


def test_members_are_not_held_against_baselines_but_refits_are():
    """On the test dates a diamond, fitted on what the dashed baseline was; none on validation."""
    figure = score_figures.beta_figure(make_study())
    marks = {
        axes.get_title(loc="left").split(",")[0]: [
            line for line in axes.lines if line.get_marker() == "D"
        ]
        for axes in figure.axes
    }
    assert not marks["Validation log-likelihood"]
    assert [line.get_ydata()[0] for line in marks["Test log-likelihood"]] == [-82.6]
    assert [line.get_ydata()[0] for line in marks["Matched |correlation| with known factors"]] == [
        0.8
    ]


def test_the_match_is_framed_in_the_heat_map():
    study = make_study(n_factors=3)
    axes = factor_figures.match_figure(study).axes[0]
    framed = {(round(p.get_x() + 0.47), round(p.get_y() + 0.46)) for p in axes.patches}
    assert framed == set(enumerate(study.arrays["match_learned"]))


def test_loadings_are_drawn_as_they_are_saved_and_known_ones_in_the_order_of_their_match():
    study = make_study(n_assets=40, sectors=False)
    axes = factor_figures.loading_figure(study).axes[:3]
    ours, known, decoded = (panel.images[0].get_array() for panel in axes)
    np.testing.assert_array_equal(ours, 100 * study.loadings.to_numpy())
    order = np.argsort(study.arrays["match_learned"])
    in_percent = 100 * study.arrays["reference_loadings"] * study.arrays["reference_factors"].std(0)
    np.testing.assert_array_equal(known, in_percent[:, order])
    np.testing.assert_allclose(decoded, 100 * 0.04 * study.arrays["unit_loadings"])
    assert len({panel.images[0].get_clim() for panel in axes}) == 1


def test_factors_are_drawn_with_the_sign_that_is_saved():
    """Beside a known factor that is turned over, the curve is the same and r is negative."""
    study = make_study(n_factors=2, n_seeds=2, n_dates=200)
    turned = {name: -study.arrays[name] for name in ("correlation", "reference_factors")}
    other = replace(study, arrays={**study.arrays, **turned})
    both = [factor_figures.match_figure(each).axes[2] for each in (study, other)]
    curves = [{line.get_label(): line.get_ydata() for line in axes.lines} for axes in both]
    np.testing.assert_array_equal(*(curve["consensus factor"] for curve in curves))
    np.testing.assert_allclose(
        *(s * c["true factor"] for s, c in zip((1, -1), curves, strict=True))
    )
    r = [float(a.get_title(loc="left").split("r = ")[1].replace("−", "-")) for a in both]
    assert r[0] == -r[1] != 0


def test_assets_of_a_sector_stand_together():
    axes = factor_figures.loading_figure(make_study(n_assets=200)).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"sector {k}" for k in range(10)]


def test_few_assets_are_named_and_so_are_their_sectors():
    study = make_study(n_assets=12)
    axes = factor_figures.loading_figure(study).axes[:3]
    sectors = sorted({*study.config["sectors"]})
    assert {t.get_text() for t in axes[0].get_yticklabels()} == {*study.loadings.index}
    assert [text.get_text() for text in axes[-1].texts] == sectors
    without = make_study(n_assets=12, sectors=False).plot.loadings().axes[2]
    assert not any(text.get_text() for text in without.texts)


def test_few_epochs_are_counted_in_whole_numbers():
    axes = make_study(epochs=4).plot.training_curves().axes[-1]
    assert all(place == int(place) for place in axes.get_xticks())


def test_diverged_members_are_counted_and_left_out():
    study = make_study(diverged=(3,))
    figure = score_figures.beta_figure(study)
    assert "1 member diverged" in message_of(figure)
    members = [line for line in figure.axes[0].lines if line.get_label() == "a member"]
    assert len(members[0].get_xdata()) == len(study.members) - 1


def test_labels_are_text_never_mathematics_and_always_drawable():
    assert as_label("$x_1$ & $y") == r"\$x_1\$ & \$y"
    assert as_label("a\nb\x00") == "a b□"
    assert as_label("A" * 60, 10) == "A" * 9 + "…"
    assert as_label("Ünïcödé") == "Ünïcödé"
    assert as_label("Газпром ΟΤΕ") == "Газпром ΟΤΕ"


@pytest.mark.parametrize("there", [True, False])
def test_scripts_that_no_font_draws_become_boxes(there, monkeypatch):
    known = fonts.drawable() | ({*map(ord, "株式会社")} if there else set())
    known -= set() if there else {*map(ord, "株式会社")}
    for module in ("fonts", "text"):
        monkeypatch.setattr(f"jaxvae.report.{module}.drawable", lambda: known)
    assert as_label("株式会社") == ("株式会社" if there else "□□□□")
    assert fonts.undrawable(["Газпром", "株式会社"]) == ([] if there else ["株式会社"])


def test_fonts_are_those_that_the_machine_has(monkeypatch):
    class Font:
        name = "Noto Sans CJK SC"

    fonts.families.cache_clear()
    monkeypatch.setattr(fonts.fontManager, "ttflist", [Font])
    assert fonts.families() == ["DejaVu Sans", "Noto Sans CJK SC"]
    fonts.families.cache_clear()


def test_numbers_are_for_people():
    assert number(-1.234) == "−1.23"
    assert number(0.5, 1, sign=True) == "+0.5"
    assert number(-0.001) == "0.00"
    assert number(float("nan")) == "–"


def test_runs_of_equal_labels():
    assert style.runs_of(["a", "a", "b", "a"]) == [(0, 2), (2, 3), (3, 4)]
    assert style.runs_of(["a"]) == [(0, 1)]


def test_a_figure_is_the_same_bytes_each_time_and_leaves_no_global_state():
    before = dict(matplotlib.rcParams)
    study = make_study(n_seeds=2, n_dates=200)
    first, second = (to_png(factor_figures.loading_figure(study)) for _ in range(2))
    assert first == second != to_png(factor_figures.loading_figure(study), titled=False)
    assert first.startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before
