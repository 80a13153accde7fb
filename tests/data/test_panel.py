"""The time split, the scaler and the hash."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from jaxvae.data.panel import Panel, Reference, fit_scaler, panel_hash, split_dates


def make_panel(values):
    dates = pd.bdate_range("2020-01-01", periods=len(values))
    return Panel(values, dates, tuple(f"A{asset}" for asset in range(values.shape[1])))


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(0.001, 0.02, (100, 3))


@pytest.mark.parametrize("n_dates", [50, 51, 100, 251, 1000, 8312])
def test_split_is_consecutive_and_covers_every_date(n_dates):
    split = split_dates(n_dates)
    parts = [np.arange(n_dates)[part] for part in (split.train, split.validation, split.test)]
    assert np.array_equal(np.concatenate(parts), np.arange(n_dates))
    assert split.fit == slice(split.train.start, split.validation.stop)


@pytest.mark.parametrize(
    ("n_dates", "sizes"), [(50, (28, 7, 15)), (100, (56, 14, 30)), (1000, (560, 140, 300))]
)
def test_split_proportions(n_dates, sizes):
    split = split_dates(n_dates)
    parts = (split.train, split.validation, split.test)
    assert tuple(part.stop - part.start for part in parts) == sizes


def test_scaler_equals_scikit_learns(values):
    oracle = StandardScaler().fit(values)
    scaler = fit_scaler(values)
    np.testing.assert_allclose(scaler.mean, oracle.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaler.scale, oracle.scale_, rtol=1e-12)
    np.testing.assert_allclose(scaler.standardise(values), oracle.transform(values), atol=1e-12)


def test_scaler_skips_missing_cells_as_scikit_learn_does(values):
    values[::7, 1] = np.nan
    oracle = StandardScaler().fit(values)
    scaler = fit_scaler(values)
    np.testing.assert_allclose(scaler.mean, oracle.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaler.scale, oracle.scale_, rtol=1e-12)


def test_restore_undoes_standardise(values):
    scaler = fit_scaler(values)
    np.testing.assert_allclose(scaler.restore(scaler.standardise(values)), values, rtol=1e-12)


def test_hash_tells_values_dates_and_tickers_apart_and_ignores_the_rest(values):
    panel = make_panel(values)
    nudged = values.copy()
    nudged[40, 2] = np.nextafter(nudged[40, 2], 1)
    others = [
        replace(panel, values=nudged),
        replace(panel, dates=panel.dates + pd.Timedelta(days=1)),
        replace(panel, assets=("A0", "A1", "B2")),
    ]
    assert len({panel_hash(other) for other in [panel, *others]}) == 4
    assert panel_hash(replace(panel, name="other").with_notes("A note.")) == panel_hash(panel)
    assert panel_hash(replace(panel, dates=panel.dates.as_unit("s"))) == panel_hash(panel)


def test_to_frame_and_sizes(values):
    panel = make_panel(values)
    frame = panel.to_frame()
    assert frame.shape == (panel.n_dates, panel.n_assets) == (100, 3)
    assert list(frame.columns) == ["A0", "A1", "A2"]
    np.testing.assert_array_equal(frame.loc[panel.dates[5]], values[5])


def test_notes_are_added_in_order(values):
    assert make_panel(values).with_notes("One.").with_notes("Two.").notes == ("One.", "Two.")


def test_a_column_that_moves_by_rounding_alone_has_no_scale(values):
    values[:, 0] = 0.1
    values[:, 1] = 1e6 * (1 + 1e-15 * np.arange(100))
    values[::3, 0] = np.nan
    scale = fit_scaler(values).scale
    assert scale[:2].tolist() == [0.0, 0.0]
    assert scale[2] == pytest.approx(values[:, 2].std())


def make_full_panel(values):
    panel = make_panel(values)
    factors = pd.DataFrame({"f": values[:, 0]}, panel.dates)
    return replace(
        panel,
        sectors=("a", "b", "a"),
        covariates=pd.DataFrame({"vix": values[:, 1]}, panel.dates),
        reference=Reference(factors, None, planted=True),
        notes=("A note.",),
    )


def test_panels_are_equal_where_all_their_fields_are(values):
    values[3, 1] = np.nan
    panel, again = make_full_panel(values), make_full_panel(values.copy())
    assert panel == again
    moved = np.where(np.arange(100)[:, None] == 40, 0.5, values)
    others = [
        replace(panel, values=moved),
        replace(panel, values=values[:, :2]),
        replace(panel, dates=panel.dates + pd.Timedelta(days=1)),
        replace(panel, assets=("A0", "A1", "B2")),
        replace(panel, sectors=None),
        replace(panel, covariates=None),
        replace(panel, covariates=panel.covariates + 1),
        replace(panel, reference=None),
        replace(panel, reference=panel.reference._replace(planted=False)),
        replace(panel, reference=panel.reference._replace(loadings=panel.covariates)),
        replace(panel, name="other"),
        panel.with_notes("Another."),
    ]
    for other in others:
        assert panel != other
        assert other != panel
    assert panel != "panel"
    with pytest.raises(TypeError, match="unhashable"):
        hash(panel)


def test_a_panel_prints_itself_in_ten_lines(values):
    values[3, 1] = np.nan
    lines = repr(make_full_panel(values)).splitlines()
    assert lines == [
        "Panel 'panel': 100 dates × 3 assets",
        "  dates: 2020-01-01 to 2020-05-19",
        "  assets: A0, A1, A2",
        "  missing cells: 1",
        "  sectors: 2",
        "  covariates: vix",
        "  reference: f",
        "  notes: 1",
    ]
    wide = make_panel(np.tile(values, (1, 4)))
    assert "A4, …" in repr(wide)
    assert len(repr(wide)) < 200
