"""The report: self-contained, escaped, complete, honest in its verdicts, the same each time."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from example_study import ODD_TICKERS, make_study

from jaxvae.folder import load_study, save_study
from jaxvae.report import write_report
from jaxvae.report_answers import answers

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
        patch.setattr("jaxvae.plot_style.DPI", 40)
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
    write_report(make_study(**ODD), folder)
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
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert widths == sorted(widths, key=widths.index), "each table has one width"


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
def test_any_study_is_told_in_words(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxvae.report.all_figures", lambda study: {})
    write_report(make_study(**{"n_assets": 12, "n_dates": 120, "n_seeds": 2, **grid}), tmp_path)
    for file in ("report.html", "report.md"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert not re.search(r"\bnan\b|None", text)
        assert "Are they real?" in text


def test_a_study_read_back_gives_the_same_bytes(odd_folder, tmp_path):
    study = make_study(**ODD)
    save_study(replace(study, parameters={"members": {}, "refits": {}}), tmp_path)
    write_report(load_study(tmp_path), tmp_path)
    for file in ("report.html", "report.md"):
        assert (tmp_path / file).read_bytes() == (odd_folder / file).read_bytes(), file


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


def test_one_seed_cannot_tell_what_is_real():
    assert answers(make_study(n_seeds=1))[1]["verdict"] == "Cannot tell from one seed"
