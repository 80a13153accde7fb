"""The report: self-contained, escaped, complete, the same each time and in each of its forms."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from example_study import ODD_TICKERS, make_study

from jaxvae.report import draw, holdings
from jaxvae.report.content import summary
from jaxvae.report.study_report import study_document, study_opening, study_report
from jaxvae.report.tables import (
    estimate_table,
    kl_table,
    known_factor_table,
    loss_table,
    ranking_table,
    score_table,
    size_table,
    stability_table,
)
from jaxvae.report.words import CLASSICAL, FACTOR_SCORES
from jaxvae.study.folder import STUDY_FORMAT

# With so few assets, each is among the extremes that the table of factors names.
ODD = {
    "tickers": ODD_TICKERS,
    "n_assets": len(ODD_TICKERS),
    "n_seeds": 2,
    "n_dates": 200,
    "epochs": 20,
    "n_factors": 2,
}


@pytest.fixture(scope="module", autouse=True)
def _coarse_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxvae.report.draw.DPI", 40)
        yield


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.words = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def odd():
    return study_report(make_study(**ODD))


@pytest.fixture(scope="module")
def page(odd):
    return Page(odd["report.html"].decode())


@pytest.fixture(scope="module")
def markdown(odd):
    return odd["report.md"].decode()


def test_the_page_is_whole_and_needs_nothing_from_outside(odd, page):
    html = odd["report.html"].decode()
    assert not re.search(r"https?://|<script|<link|@import|url\(", html)
    assert len(html) < 2_000_000
    files = {content for name, content in odd.items() if name.startswith("figures/")}
    inlined = [image["src"].removeprefix("data:image/png;base64,") for image in page.images]
    assert {base64.b64decode(image) for image in inlined} == files
    assert len(inlined) == len(files)
    assert all(image["alt"] for image in page.images)


def test_tickers_stay_text_in_html(page):
    words = " ".join(page.words)
    assert "script" not in page.tags
    assert all(ticker in words for ticker in ODD_TICKERS)


def test_tickers_stay_text_in_markdown(markdown):
    assert "<" not in markdown
    for escaped in (r"\$x\_1\$ &amp; \$y", r"=cmd\|'/C calc'!A0", r"a\`b\*c\_d", "株式会社"):
        assert escaped in markdown
    tables = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    assert len(tables) == 20
    for rows in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


def test_links_resolve_in_the_folder_and_a_page_alone_has_none(odd, markdown):
    study = make_study(**ODD)
    folder = {name.removesuffix(".json") for name in STUDY_FORMAT.files(study)}
    assert {*re.findall(r"\]\(([^)]+)\)", markdown)} <= folder
    html = odd["report.html"].decode()
    links = {*re.findall(r'href="([^"]+)"', html)}
    assert {link for link in links if not link.startswith("#")} <= folder
    tables = {name for name in folder if name.endswith(".csv")}
    assert tables <= links
    assert {link[1:] for link in links if link.startswith("#")} <= {
        *re.findall(r'id="([^"]+)"', html)
    }
    alone = study_report(study, linked=False)["report.html"].decode()
    assert not re.search(r'href="[^#]', alone)


def test_a_screen_reader_finds_headings_and_the_cells_that_name_a_table_s_rows(odd, page):
    html = odd["report.html"].decode()
    levels = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for row in re.findall(r"<tr>(.*?)</tr>", html):
        assert row.startswith(('<th scope="col">', '<th scope="row">'))
    titles = re.findall(r"<h3>(.*?)</h3>", html)
    assert len(titles) == len(page.images)


def plain(text):
    return " ".join(re.sub(r"\\(.)", r"\1", text).replace("&amp;", "&").split())


def test_both_forms_say_the_same(page, markdown):
    """Every heading, sentence and cell of the document stands in both."""
    html, twin = " ".join(" ".join(page.words).split()), plain(markdown)
    document = study_document(make_study(**ODD))
    said = [text for answer in document.opening.answers for text in answer]
    said += [document.opening.title, document.opening.facts, *document.limits]
    for part in document.parts:
        grid = [*part.header, *(c for row in part.rows for c in row)] if part.kind == "grid" else []
        said += grid or [getattr(part, "text", None) or part.caption]
        said += [word for term in getattr(part, "terms", {}).items() for word in term]
    for text in said:
        for form in (html, twin):
            assert plain(text).replace("&lt;", "<") in form.replace("&lt;", "<").replace(
                "&gt;", ">"
            ), text


@pytest.mark.parametrize(
    "grid",
    [
        {"reference": False, "sectors": False},
        {"n_factors": 1, "n_seeds": 1, "betas": (1.0,)},
        {"diverged": (1,), "n_factors": 2, "n_reference": 4},
    ],
    ids=["no reference", "one of each", "diverged"],
)
def test_any_study_is_told_in_words(grid, monkeypatch):
    figure = draw.set_message(draw.new_figure(1.0), "Risk")
    drawings = {"risk": lambda study: figure}
    monkeypatch.setattr("jaxvae.report.study_report.drawings", lambda study: drawings)
    files = study_report(make_study(**{"n_assets": 12, "n_dates": 120, "n_seeds": 2, **grid}))
    assert set(files) == {"report.html", "report.md", "figures/risk.png"}
    for content in (files["report.html"], files["report.md"]):
        assert not re.search(r"\bnan\b|None", content.decode())
        assert "Are they real?" in content.decode()


def test_a_study_read_back_gives_the_same_bytes(odd):
    """The folder's report is drawn from what reading gives back."""
    files = STUDY_FORMAT.files(make_study(**ODD))
    assert {name: files[name] for name in odd} == odd


def test_the_terminal_gets_the_answers_and_the_scores():
    study = make_study()
    opening = study_opening(study)
    lines = summary(opening).splitlines()
    assert lines[0] == "Latent factors in “linear”"
    answers = [f"{answer.question} {answer.verdict}." for answer in opening.answers]
    assert lines[-len(answers) :] == answers
    table = lines[-1 - len(opening.scores.rows) - len(answers) : -len(answers)]
    assert table[0].split()[0] == "Model"
    assert all(row[0] in line for row, line in zip(opening.scores.rows, table[1:], strict=True))
    assert len({len(line) for line in table}) == 1
    assert max(map(len, lines)) < 160


def rows_of(table):
    return {row[0]: row[1:] for row in table.rows}


def test_scores_stand_beside_every_interval():
    table = score_table(make_study())
    assert table.header == [
        "Model", "Log-likelihood", "Ensemble − model [95 %]", "Jointly [95 %]", "Over seeds [95 %]",
        "R²",
    ]  # fmt: skip
    rows = rows_of(table)
    assert list(rows)[:3] == ["VAE ensemble", "VAE, likeliest seed", "Factor analysis, best K = 6"]
    assert rows["Multivariate t"] == [
        "−83.90", "+1.50 [0.95, 2.10]", "[0.75, 2.30]", "[1.40, 1.60]", "–",
    ]  # fmt: skip


def test_a_model_of_the_best_number_of_factors_is_not_shown_twice():
    study = make_study(n_factors=6)
    names = list(rows_of(score_table(study)))
    assert names.count("Factor analysis, K = 6") == names.count("PCA, K = 6") == 1
    assert not any("best" in name for name in names)


def test_known_factors_stand_beside_chance_and_rotation():
    table = known_factor_table(make_study())
    assert table.header == [
        "Score", "Consensus factors", "VAE, likeliest seed", "PCA, K\u00a0=\u00a05",
        "VAE, mean over seeds [95 %]", "By chance", "By rotation",
    ]  # fmt: skip
    rows = rows_of(table)
    assert len(rows) == len(FACTOR_SCORES)
    assert rows["Matched |correlation|"] == [
        "0.86", "0.81", "0.70", "0.80 [0.77, 0.83]", "0.09", "0.83",
    ]  # fmt: skip
    assert rows["Canonical correlation"][-2:] == ["0.10", "unmoved"]
    assert known_factor_table(make_study(reference=False)) is None


def test_counts_are_told_with_the_verdict_first():
    study = make_study()
    assert estimate_table(study).rows[0] == ["Verdict", "what the estimators add up to", "5"]
    assert size_table(study).rows[1] == ["1", "−93.00", "+10.00 [9.00, 11.00]", "1.0"]
    assert size_table(study).rows[0][2] == "–"


def test_members_that_use_no_factor_have_no_gain_to_tell():
    table = make_study().n_factors
    unused = table.kind.eq("size") & table.factors.isin([0, 3])
    table.loc[unused, ["gain", "low", "high"]] = np.nan
    rows = size_table(replace(make_study(), n_factors=table)).rows
    assert [row[2] == "–" for row in rows] == [True, False, False, True, False, False]


def with_counts(study, **found):
    table = study.n_factors.copy()
    for name, number in found.items():
        table.loc[table.name == name, "factors"] = number
    return replace(study, n_factors=table)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "The verdict is 5 factors: the median of the seven classical estimators"),
        ({"verdict": 0, "held_out": 0}, "no number of factors beats none"),
        ({"verdict": 0, "held_out": 2, "parallel_analysis": 0}, "no eigenvalue exceeds"),
    ],
)
def test_a_verdict_says_whose_it_is(found, words, monkeypatch):
    monkeypatch.setattr("jaxvae.report.study_report.drawings", lambda study: {})
    parts = study_document(with_counts(make_study(), **found)).parts
    assert any(words in getattr(part, "text", "") for part in parts)


def test_few_assets_leave_held_out_likelihood_to_decide():
    study = make_study()
    few = study.n_factors[~study.n_factors.name.isin(CLASSICAL)]
    table = estimate_table(replace(study, n_factors=few))
    assert [row[0] for row in table.rows] == ["Verdict", "VAE ensemble"]


def test_losses_name_the_factors_that_each_beta_costs():
    rows = rows_of(loss_table(make_study(betas=(1.0, 8.0))))
    assert rows["1"] == ["5 of 5", "none", "5.0 [5, 5]", "none"]
    assert rows["8"] == ["2 of 5", "3 (6.7), 4 (2.1), 5 (0.7)", "4.0 [4, 4]", "3, 4, 5"]


def test_rankings_show_the_truth_where_it_is_known():
    row = ranking_table(make_study()).rows[0]
    assert row == ["Validation log-likelihood", "40", "member 3", "0.41", "0.84", "0.79"]
    unknown = ranking_table(make_study(reference=False))
    assert unknown.header == ["Ranked by", "Members", "First"]


def test_stability_is_told_for_every_beta():
    study = make_study(n_factors=2, betas=(0.5, 1.0))
    rows = rows_of(stability_table(study))
    chosen = {0.5: ["0.5, chosen", "1"], 1.0: ["0.5", "1, chosen"]}[study.config["chosen"]["beta"]]
    assert list(rows) == chosen
    assert rows[chosen[1]] == [f"{value:.2f}" for value in study.stability.iloc[1]]
    assert stability_table(make_study(n_seeds=1, betas=(1.0,))) is None


def test_the_parts_of_the_kl_are_told_for_every_beta():
    study = make_study()
    rows = rows_of(kl_table(study))
    median = study.members[study.members.beta == 2.0].kl.median()
    expected = [f"{share * median:.2f}" for share in (1, 0.8, 0.15, 0.1, 0.05)]
    assert rows["2"] == [*expected, "5.00"]
    bare = replace(study, members=study.members.drop(columns="total_correlation"))
    assert kl_table(bare) is None


def test_breaches_stand_with_their_tests():
    study = make_study()
    rows = holdings.breach_table(study).rows
    assert rows[0] == [
        "The model’s own quantile", "5 %", "4.7 %", "0.400", "0.400", "0.400", "yes",
    ]  # fmt: skip
    rejected = study.metrics.copy()
    rejected.loc[rejected.metric == "var_5_conditional_p", "value"] = 0.049
    assert holdings.breach_table(replace(study, metrics=rejected)).rows[0][-1] == "no"
    none = study.metrics[~study.metrics.metric.str.contains("var_")]
    assert holdings.breach_table(replace(study, metrics=none)) is None


def test_of_many_assets_the_best_and_the_least_explained_are_shown():
    study = make_study()
    r2 = np.linspace(0.1, 0.9, 101)
    table = holdings.asset_table(replace(study, assets=study.assets.assign(r2=r2)))
    names = [row[0] for row in table.rows]
    assert names[:2] == ["(equal weights)", "STOCK_099"]
    assert (names[-1], len(names)) == ("STOCK_000", 21)
    row = dict(zip(table.header, table.rows[1], strict=True))
    assert row["Mean, %"] == f"{100 * study.assets['mean'].iloc[99]:.2f}".replace("-", "−")
    assert (row["Volatility, %"], row["Specific, %"]) == ("2.00", "1.30")


def test_shares_of_variance_sum_to_all_of_it():
    study = make_study(n_factors=2)
    rows = rows_of(holdings.share_table(study))
    assert rows["Factor 1"] == ["30.0 %", "30.0 %"]
    assert sum(float(row[0].split()[0]) for row in rows.values()) == pytest.approx(100)


def test_sectors_are_told_where_they_are_known():
    study = make_study(n_factors=2)
    first = rows_of(holdings.exposure_table(study))["sector 0"]
    here = np.array(study.config["sectors"]) == "sector 0"
    mean = 100 * study.loadings.iloc[here, 0].mean()
    assert first[:2] == [str(here.sum()), f"{mean:+.2f}".replace("-", "−")]
    assert holdings.exposure_table(make_study(sectors=False)) is None


def test_a_factor_s_portfolio_names_its_largest_positions():
    study = make_study(n_factors=2)
    row = holdings.portfolio_table(study).rows[0]
    assert row[:5] == ["factor 1", "2.00", "2.10", "10 %", "0.95"]
    weights = study.portfolios["factor 1"]
    assert row[5].startswith(f"{weights.idxmax()}\N{NO-BREAK SPACE}+{100 * weights.max():.1f}")
    empty = study.portfolios.assign(**{"factor 1": 0.0})
    assert holdings.portfolio_table(replace(study, portfolios=empty)).rows[0][1:] == ["–"] * 6
