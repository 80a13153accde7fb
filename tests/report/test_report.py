"""The report: self-contained, escaped, complete, honest in its verdicts, the same each time."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from example_study import ODD_TICKERS, make_study

from jaxvae.report.answers import answers
from jaxvae.report.evidence import (
    consensus_words,
    estimates,
    known_factors,
    losses,
    rankings,
    sizes,
    verdict_words,
)
from jaxvae.report.page import report_files
from jaxvae.report.words import CLASSICAL, KNOWN_SCORES
from jaxvae.runs.files import write_files
from jaxvae.study.folder import study_files

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
        patch.setattr("jaxvae.report.style.DPI", 40)
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
def odd_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    write_files(folder, report_files(make_study(**ODD)))
    return folder


@pytest.fixture(scope="module")
def page(odd_folder):
    return Page((odd_folder / "report.html").read_text(encoding="utf-8"))


def with_differences(study, **intervals):
    """The same study with other intervals: by baseline, (low, high)."""
    table = study.comparisons.copy()
    for baseline, (low, high) in intervals.items():
        rows = table.baseline == baseline
        table.loc[rows, ["difference", "low", "high"]] = ((low + high) / 2, low, high)
    return replace(study, comparisons=table)


def with_metrics(study, **values):
    table = study.metrics.copy()
    for metric, value in values.items():
        table.loc[(table.model == "consensus") & (table.metric == metric), "value"] = value
    return replace(study, metrics=table)


def with_stability(study, value):
    return replace(
        study, arrays=study.arrays | {"stability": 0 * study.arrays["stability"] + value}
    )


def test_the_page_is_whole_and_needs_nothing_from_outside(odd_folder, page):
    html = (odd_folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<link|@import|url\(", html)
    files = {file.read_bytes() for file in (odd_folder / "figures").iterdir()}
    inlined = [image["src"].removeprefix("data:image/png;base64,") for image in page.images]
    assert {base64.b64decode(image) for image in inlined} == files
    assert all(image["alt"] for image in page.images)


def test_tickers_stay_text_in_html(page):
    words = " ".join(page.words)
    assert "script" not in page.tags
    assert all(ticker in words for ticker in ODD_TICKERS)


def test_tickers_stay_text_in_markdown(odd_folder):
    text = (odd_folder / "report.md").read_text(encoding="utf-8")
    assert "<" not in text
    for escaped in (r"\$x\_1\$ &amp; \$y", r"=cmd\|'/C calc'!A0", r"a\`b\*c\_d", "株式会社"):
        assert escaped in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 9
    for rows in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


def test_links_of_the_markdown_resolve(odd_folder, tmp_path):
    text = (odd_folder / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    figures = {f"figures/{file.name}" for file in (odd_folder / "figures").iterdir()}
    assert set(links) == figures | {"members.csv"}


def test_both_files_say_the_same(odd_folder, page):
    markdown = (odd_folder / "report.md").read_text(encoding="utf-8")
    words = " ".join(page.words)
    for answer in answers(make_study(**ODD)):
        assert answer["verdict"] in words
        assert answer["verdict"] in markdown
    assert "Of 10 members, the β of the best mean score over seeds on the validation dates" in words
    assert "5f0c5f0c" in words


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
    monkeypatch.setattr("jaxvae.report.page.all_figures", lambda study: {})
    files = report_files(make_study(**{"n_assets": 12, "n_dates": 120, "n_seeds": 2, **grid}))
    for file in ("report.html", "report.md"):
        text = files[file].decode()
        assert not re.search(r"\bnan\b|None", text)
        assert "Are they real?" in text


def test_a_study_read_back_gives_the_same_bytes(odd_folder):
    files = study_files(make_study(**ODD))
    for file in ("report.html", "report.md"):
        assert files[file] == (odd_folder / file).read_bytes(), file


def rows_of(table):
    return {row[0]: row[1:] for row in table["rows"]}


def test_known_factors_stand_beside_chance_and_rotation():
    table = known_factors(make_study())
    assert table["header"] == [
        "Score", "Consensus factors", "VAE, best member", "PCA, K\u00a0=\u00a05",
        "VAE, mean over seeds [95 %]", "By chance (95 %)", "By random rotation",
    ]  # fmt: skip
    rows = rows_of(table)
    assert len(rows) == len(KNOWN_SCORES)
    assert rows["Matched |correlation|"] == [
        "0.86", "0.81", "0.70", "0.80 [0.77, 0.83]", "0.09", "0.73",
    ]  # fmt: skip
    assert rows["Canonical correlation"][-2:] == ["0.10", "unmoved"]
    assert known_factors(make_study(reference=False)) is None


def test_counts_are_told_with_the_verdict_first():
    study = make_study()
    assert estimates(study)["rows"][0] == ["Verdict", "what the estimators add up to", "5"]
    assert sizes(study)["rows"][1] == ["1", "−93.00", "+10.00 [9.00, 11.00]", "1.0"]
    assert sizes(study)["rows"][0][2] == "–"
    assert verdict_words(study).startswith("The verdict is 5 factors: the median of the seven")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"verdict": 0, "held_out": 0}, "no number of factors beats none"),
        ({"verdict": 0, "held_out": 2, "parallel_analysis": 0}, "no eigenvalue exceeds"),
    ],
)
def test_a_verdict_of_none_says_whose_it_is(found, words):
    study = make_study()
    table = study.n_factors.copy()
    for name, number in found.items():
        table.loc[table.name == name, "factors"] = number
    study = replace(study, n_factors=table)
    assert words in verdict_words(study)
    answer = answers(study)[1]
    assert answer["verdict"] == "Not shown: nothing beyond noise"


def test_few_assets_leave_held_out_likelihood_to_decide():
    study = make_study()
    few = study.n_factors[~study.n_factors.name.isin(CLASSICAL)]
    study = replace(study, n_factors=few)
    assert "held-out likelihood alone" in verdict_words(study)
    assert [row[0] for row in estimates(study)["rows"]] == ["Verdict", "VAE ensemble"]


def test_losses_name_the_factors_that_each_beta_costs():
    study = make_study(betas=(1.0, 8.0))
    rows = rows_of(losses(study))
    assert rows["1"] == ["5 of 5", "none", "5.0 [5, 5]", "none"]
    assert rows["8"] == ["2 of 5", "3 (6.7), 4 (2.1), 5 (0.7)", "4.0 [4, 4]", "3, 4, 5"]


def test_rankings_show_the_truth_where_it_is_known():
    row = rankings(make_study())["rows"][0]
    assert row == ["Validation log-likelihood", "40", "member 3", "0.41", "0.84", "0.79"]
    unknown = rankings(make_study(reference=False))
    assert unknown["header"] == ["Ranked by", "Members", "First"]


def test_the_rule_of_the_consensus_is_stated():
    words = consensus_words(make_study())
    assert words.startswith("5 of 6 consensus factors kept")
    assert "at least 50 % of the members" in words
    assert "independent members reach (0.11)" in words


@pytest.mark.parametrize(
    ("pca", "strongest", "verdict"),
    [
        ((1.0, 2.0), (0.5, 1.0), "Yes"),
        ((-3.0, -2.0), (-5.0, -4.0), "No"),
        ((-1.0, 1.0), (-1.5, 1.0), "Too close to tell"),
        ((1.0, 2.0), (-1.0, 1.0), "More than PCA; too close to tell against the best classical"),
        ((-1.0, 1.0), (-4.0, -2.0), "Too close to tell against PCA; less than the best classical"),
    ],
)
def test_the_verdict_follows_the_interval(pca, strongest, verdict):
    study = with_differences(
        make_study(n_seeds=2),
        pca=pca,
        pca_best=pca,
        factor_analysis=(3, 4),
        factor_analysis_best=(3, 4),
        multivariate_t=strongest,
    )
    assert answers(study)[2]["verdict"].startswith(verdict)


@pytest.mark.parametrize(
    ("mcc", "stability", "verdict", "words"),
    [
        (0.9, 0.95, "Yes: 5 of 5 stable", "more than chance or a random rotation"),
        (0.6, 0.95, "In part: 5 of 5 stable", "the axes are not identified"),
        (0.05, 0.3, "Not shown: 0 of 5 stable", "no more than chance"),
        (0.9, 0.3, "In part: 0 of 5 stable", "more than chance or a random rotation"),
    ],
)
def test_real_means_stable_and_above_chance_and_rotation(mcc, stability, verdict, words):
    study = with_stability(with_metrics(make_study(), mcc=mcc), stability)
    answer = answers(study)[1]
    assert answer["verdict"] == verdict
    assert words in answer["text"]


def test_factors_that_did_not_survive_are_not_counted():
    study = make_study()
    assert answers(study)[0]["verdict"].startswith("5 factors, ")
    rule = {**study.config["consensus"], "survive": 0}
    study = replace(study, config={**study.config, "consensus": rule})
    assert answers(study)[0]["verdict"].startswith("0 of 5 factors kept")


def test_one_seed_cannot_tell_what_is_real():
    assert answers(make_study(n_seeds=1))[1]["verdict"] == "Cannot tell from one seed"
