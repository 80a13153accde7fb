"""The folder of a finished run: what was written comes back to the bit, or is refused by name."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from jaxvae.errors import FolderError
from jaxvae.runs.documents import SCHEMA, read_sealed, seal
from jaxvae.runs.files import make_folder
from jaxvae.runs.results import (
    CONFIG,
    Results,
    describe_results,
    pack,
    read_results,
    unpack,
    with_checksums,
    write_drawings,
)

# Assets whose names are those of a column, of a missing cell, of a formula, of several lines.
ODD = ["asset", "date", "NA", "null", "nan", "1", "=A1", 'a "b", c', "two\nlines", "Ω", "True"]
MEMBERS = "checkpoints/members.safetensors"
DRAWINGS = {"figures/one.png": b"picture", "report.md": b"words"}


def tables():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(len(ODD), 2)) * 10.0 ** rng.integers(-300, 300, (len(ODD), 2))
    numbers[0] = (np.inf, np.nan)
    days = pd.to_datetime(["2020-01-01 00:00", "2020-01-02 09:30"] * 2)
    index = pd.MultiIndex.from_arrays([["NA", "NA", "b", "b"], days], names=["strategy", "date"])
    rows = {"model": ["a", "b"], "member": pd.array([1, None], "Int64"), "ok": [True, False]}
    return {
        "rows": pd.DataFrame(rows),
        "loadings": pd.DataFrame(numbers, index=pd.Index(ODD, name="asset"), columns=["x", "y"]),
        "weights": pd.DataFrame(rng.normal(size=(4, len(ODD))), index=index, columns=ODD).assign(
            until=days
        ),
        "windows": pd.DataFrame({"a": [0.1, 0.2], "name": ["1", "02"]}).rename_axis("window"),
        "none": None,
    }


def results():
    trees = {"arrays.safetensors": {"a": np.arange(3.0)}, MEMBERS: {"deep": {"b": np.ones((2, 2))}}}
    return Results({"name": "odd", "betas": (0.5, 1.0)}, tables(), trees)


@pytest.fixture
def folder(tmp_path):
    files = {**pack(results()), **DRAWINGS}
    make_folder(tmp_path / "study", with_checksums(describe_results("study", results()), files))
    return tmp_path / "study"


def reseal(folder, **changes):
    """Settings that were changed by somebody who knows how to."""
    path = folder / CONFIG
    path.write_bytes(seal({**read_sealed(path), **changes}))


def test_tables_and_arrays_come_back_to_the_bit(folder):
    again = read_results(folder, "study")
    assert again.config["betas"] == [0.5, 1.0]
    assert again.tables.keys() == tables().keys()
    for name, table in tables().items():
        found = again.tables[name]
        if table is None:
            assert found is None
            continue
        assert list(found.columns) == list(table.columns)
        assert found.index.tolist() == table.index.tolist()
        pd.testing.assert_frame_equal(
            found, table, check_exact=True, check_dtype=False, check_column_type=False
        )
    assert again.tables["rows"].ok.dtype == bool
    assert (again.trees[MEMBERS]["deep"]["b"] == 1.0).all()


def test_what_is_packed_again_is_the_same_bytes(folder):
    config, _, _ = again = read_results(folder, "study")
    files = {**pack(again), **DRAWINGS}
    assert pack(unpack(config, files)) == pack(results())
    for name, content in with_checksums(describe_results("study", again), files).items():
        assert (folder / name).read_bytes() == content, name


def test_every_other_file_is_vouched_for(folder):
    config = read_sealed(folder / CONFIG)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {CONFIG, *config["checksums"]} == {CONFIG, *config["sizes"]}


# Damage


def assert_refused(folder, words):
    with pytest.raises(FolderError, match=words) as error:
        read_results(folder, "study")
    assert "\n" not in str(error.value)


NAMES = [*pack(results()), *DRAWINGS, CONFIG]


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_named(name, folder):
    path, content = folder / name, (folder / name).read_bytes()
    for changed in (
        content[: len(content) // 2],
        bytes([content[0] ^ 1]) + content[1:],
        content[:-2] + bytes([content[-2] ^ 4]) + content[-1:],
        content + b"\n,",
        b"",
    ):
        path.write_bytes(changed)
        assert_refused(folder, f"{name} is damaged")
    path.unlink()
    assert_refused(folder, f"it has no {name}" if name == CONFIG else f"{name} is missing")
    path.mkdir()
    assert_refused(folder, f"{name} is a folder")
    path.rmdir()
    os.mkfifo(path)
    assert_refused(folder, f"{name} is a pipe or device")
    path.unlink()
    (folder.parent / "elsewhere").write_bytes(content)
    path.symlink_to(folder.parent / "elsewhere")
    assert_refused(folder, f"{name} is a symbolic link")


def test_a_file_that_grew_without_bounds_is_not_read(folder):
    with open(folder / "rows.csv", "ab") as file:
        file.truncate(2**40)
    assert_refused(folder, "rows.csv is damaged: it cannot have 1,099,511,627,776 bytes")
    with open(folder / CONFIG, "ab") as file:
        file.truncate(2**40)
    assert_refused(folder, f"{CONFIG} is damaged: it cannot have 1,099,511,627,776 bytes")


def test_a_file_in_anothers_place_is_named(folder):
    names = ["rows.csv", "windows.csv"]
    one, other = (folder / name for name in names)
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)
    assert_refused(folder, "rows.csv is damaged")


def test_what_lies_beside_the_files_is_no_matter(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "figures" / "mine.png").symlink_to(folder / "notes.txt")
    assert read_results(folder, "study").config["name"] == "odd"


def in_schema(number):
    """A settings file's text with another schema in it."""
    return lambda text: text.replace(f'"schema": {SCHEMA}', f'"schema": {number}')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"odd"', '"even"'), "damaged or was changed"),
        (lambda text: text.replace("0.5", "Infinity"), "Infinity is no number"),
        (lambda text: text.replace("0.5", "NaN"), "NaN is no number"),
        (lambda text: text.replace("0.5", "1" * 5000), "damaged"),
        (lambda text: text.replace("0.5", "[" * 100_000), "damaged"),
        (lambda text: "[" * 1_000_000, "damaged"),
        (lambda text: "{}", "damaged"),
        (lambda text: "3", "damaged"),
        (lambda text: "\x80", "damaged"),
        (in_schema("1"), f"has schema 1; .* reads {SCHEMA}"),
        (in_schema("9"), f"has schema 9; .* reads {SCHEMA}"),
        (in_schema(f'"{SCHEMA}"'), f"has schema '{SCHEMA}'"),
    ],
)
def test_changed_settings_are_refused(change, words, folder):
    path = folder / CONFIG
    path.write_bytes(change(path.read_text("utf-8")).encode("latin-1", "replace"))
    assert_refused(folder, words)


def test_the_order_and_the_spaces_of_settings_are_no_matter(folder):
    path = folder / CONFIG
    document = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(dict(reversed(document.items()))), "utf-8")
    assert read_results(folder, "study").config["name"] == "odd"


SHAPE = {"index": 0, "dates": [], "texts": [0], "integers": [1]}
SHAPES = [{"index": "x"}, {"dates": [0]}, {"dates": [9]}]
SHAPES += [{"dates": 3}, {"texts": None}, {"texts": [[]]}, {"integers": [0]}]


@pytest.mark.parametrize(
    "changes",
    [
        {"checksums": None},
        {"checksums": []},
        {"checksums": {"rows.csv": 3}},
        {"checksums": {"../elsewhere": ""}},
        {"checksums": {"\0": ""}},
        {"sizes": {}},
        {"sizes": 3},
        {"sizes": {"rows.csv": "x"}},
        {"tables": None},
        {"tables": []},
        {"tables": {"rows": 3}},
        {"tables": {"rows": {}}},
        *({"tables": {"rows": {**SHAPE, **other}}} for other in SHAPES),
        {"command": "walk"},
        {"command": None},
        {"command": []},
    ],
)
def test_forged_settings_are_one_line(changes, folder):
    reseal(folder, **changes)
    assert_refused(folder, "study|damaged|missing|read")


# Drawings


def drawn(folder):
    return {name: (folder / name).read_bytes() for name in DRAWINGS}


def test_drawings_are_drawn_again(folder):
    others = {**DRAWINGS, "report.md": b"other words", "figures/two.png": b"another picture"}
    (folder / "report.md").write_text("damaged")
    (folder / "figures" / "one.png").unlink()
    assert_refused(folder, "draw it again with: jaxvae report")
    assert read_results(folder, "study", drawings=False).config["name"] == "odd"
    write_drawings(folder, lambda: others)
    assert (folder / "figures" / "two.png").read_bytes() == b"another picture"
    assert read_results(folder, "study").config["name"] == "odd"
    write_drawings(folder, lambda: DRAWINGS)
    assert drawn(folder) == DRAWINGS
    assert read_results(folder, "study").config["checksums"]["figures/two.png"]


@pytest.mark.parametrize("name", ["report.md", "figures", "figures/one.png", CONFIG])
def test_nothing_is_drawn_through_a_link(name, folder, tmp_path):
    victim = tmp_path / "victim"
    (folder / name).rename(victim)
    (folder / name).symlink_to(victim)
    before = sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*"))
    with pytest.raises(FolderError, match=f"{name} is a symbolic link"):
        write_drawings(folder, lambda: {**DRAWINGS, "report.md": b"other", "figures/two.png": b"2"})
    after = sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*"))
    assert after == before


def test_nothing_is_drawn_over_a_users_own(folder):
    (folder / "figures" / "two.png").write_text("mine")
    with pytest.raises(FolderError, match=r"figures/two.png is not of jaxvae and in the way"):
        write_drawings(folder, lambda: {"report.md": b"other", "figures/two.png": b"2"})
    assert (folder / "figures" / "two.png").read_text() == "mine"
    assert drawn(folder) == DRAWINGS


def test_a_crash_leaves_a_drawing_whole(folder, monkeypatch):
    real = os.replace

    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(FolderError, match="cannot be written: No space left"):
        write_drawings(folder, lambda: {"report.md": b"other"})
    monkeypatch.setattr(os, "replace", real)
    assert drawn(folder) == DRAWINGS
