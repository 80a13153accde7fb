"""What a report says of the choice of a study's model."""

from dataclasses import replace

import pandas as pd
import pytest
from example_study import make_study

from jaxvae.report.answers import answers
from jaxvae.report.candidates import candidate_table, candidates_figure, choice_of, choice_words
from jaxvae.report.content import summary
from jaxvae.report.draw import message_of
from jaxvae.report.figures import drawings
from jaxvae.report.study_report import study_opening

COLUMNS = [
    *("family", "factors", "seeds", "log_likelihood", "standard_error"),
    *("difference", "difference_error", "chosen"),
]
ROWS = [
    ("linear", 0, 2, -142.0, 2.0, -42.0, 2.0),
    ("linear", 4, 2, -100.3, 0.5, -0.3, 0.1),
    ("linear", 5, 2, -100.05, 0.5, -0.05, 0.1),
    ("student", 5, 2, -100.0, 0.5, 0.0, 0.0),
    ("additive", 3, 2, -101.5, 0.6, -1.5, 0.3),
    ("additive", 5, 2, -101.0, 0.6, -1.0, 0.3),
]
KIND = ["Linear: returns are linear in the factors, nothing bends", "Loadings say it all."]


def study_of(chosen, rows=ROWS, found=5):
    table = pd.DataFrame([(*row, k == chosen) for k, row in enumerate(rows)], columns=COLUMNS)
    study = make_study(n_assets=12, n_dates=120, n_factors=2, n_seeds=2, epochs=10)
    study.config["selection"] = {"model": "auto", "n_factors": "auto", "found": found, "kind": KIND}
    return replace(study, candidates=table)


@pytest.fixture(scope="module")
def level():
    return study_of(2)


def test_a_simpler_winner_is_said_to_be_level_with_the_best(level):
    assert choice_words(level) == (
        "Of 3 families (additive, linear, student) on validation dates, linear with 5 factors is "
        "the simplest that is level with the best: 0.05 ± 0.10 nats per date behind "
        "student with 5."
    )


def test_the_likeliest_is_set_beside_the_next_family():
    assert choice_words(study_of(3)).endswith(
        "student with 5 factors is the likeliest, 0.05 ± 0.10 nats per date ahead of the next, "
        "linear with 5."
    )
    of_one = study_of(1, [ROWS[0], ("linear", 5, 2, -100.0, 0.5, 0.0, 0.0)])
    assert choice_words(of_one) == (
        "Of 2 numbers of factors on validation dates, linear with 5 factors is the likeliest."
    )
    assert next(iter(answers(of_one))).question.startswith("Which latent factors")


def test_the_first_screen_says_what_kind_of_panel_it_is(level):
    first, *others = answers(level)
    assert (first.question, first.verdict) == ("What kind of panel is this?", KIND[0])
    assert first.text == KIND[1]
    assert len(others) == 3
    assert KIND[0] in summary(study_opening(level))


def test_page_and_terminal_say_who_stood_and_why_the_winner_won(level):
    opening = study_opening(level)
    assert opening.facts.endswith(choice_words(level))
    assert choice_words(level) in summary(opening)


def test_noise_has_no_factor_and_leaves_nothing_to_lead_by():
    words = [answer.verdict for answer in answers(study_of(0, found=0))]
    assert words[0].startswith("Noise: no number of factors")
    assert words[2].startswith("Not shown")
    assert words[3] == "Not shown: there is no factor to be found"


def test_the_table_and_the_figure_show_each_family_at_its_best(level):
    assert candidate_table(level).rows == [
        ["student", "5", "−100.00 ± 0.50", "best"],
        ["linear", "5", "−100.05 ± 0.50", "−0.05 ± 0.10"],
        ["additive", "5", "−101.00 ± 0.60", "−1.00 ± 0.30"],
    ]
    figure = candidates_figure(level)
    assert message_of(figure) == (
        "linear with 5 factors is the simplest near the likeliest on validation dates"
    )
    low, high = figure.axes[1].get_ylim()
    assert -1 < low < -0.4 < 0 < high


def test_what_is_not_compared_is_not_drawn(level):
    """One family has its numbers of factors alone, one number of factors the families alone."""
    sizes = study_of(1, [ROWS[0], ("linear", 5, 2, -100.0, 0.5, 0.0, 0.0)])
    families = study_of(0, [row for row in ROWS if row[1] == 5], found=None)
    titles = [
        [one.get_title("left") for one in candidates_figure(s).axes] for s in (sizes, families)
    ]
    assert titles == [["Numbers of factors of linear"], ["The likeliest of each family"]]
    assert [row[:2] for row in candidate_table(sizes).rows] == [["linear", "5"], ["linear", "0"]]


def test_a_study_of_given_things_says_nothing_of_a_choice():
    study = make_study(n_assets=12, n_dates=120, n_factors=2, n_seeds=2, epochs=10)
    assert choice_of(study) is None
    assert choice_words(study) == ""
    assert candidate_table(study) is None
    assert "candidates" not in drawings(study)
    assert len(answers(study)) == 3
