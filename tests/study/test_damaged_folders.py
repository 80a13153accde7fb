"""Folders of studies and walks that were tampered with, in every way: refused by name, or no other.

Every attempt is on a copy that the test has made; what lies beside it is looked at afterwards.
"""

import os
import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import same_bits
from walking import CONFIG as WALK_CONFIG
from walking import PANEL as WALK_PANEL

from jaxvae.errors import FolderError
from jaxvae.models.families import OWN
from jaxvae.runs.documents import read_sealed, seal
from jaxvae.study.study import draw_report, load_study
from jaxvae.walk.run import walk_forward
from jaxvae.walk.walk import draw_walk_report, load_walk

pytestmark = pytest.mark.slow

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SECONDS = 10


@pytest.fixture(scope="module")
def walk_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks") / "walk"
    walk_forward(WALK_PANEL, WALK_CONFIG).save(folder)
    return folder


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Ways to tamper with one file of a folder, by a place in it and a number.


def cut(path, place, number):
    content = path.read_bytes()
    path.write_bytes(content[: int(place * len(content))])


def flip(path, place, number):
    content = bytearray(path.read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] ^= 1 << number % 8
    path.write_bytes(content)


def insert(path, place, number):
    content = path.read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] + b'[{"9,\n\0NaN'[number % 9 :] * (number % 5) + content[at:])


def repeat(path, place, number):
    lines = path.read_bytes().splitlines(keepends=True)
    at = int(place * (len(lines) - 1))
    path.write_bytes(b"".join(lines[:at] + lines[at : at + 1] * (number % 4) + lines[at + 1 :]))


def swap(path, place, number):
    others = sorted(one for one in path.parent.iterdir() if one.is_file() and one != path)
    if others:
        other = others[number % len(others)]
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)


def remove(path, place, number):
    path.unlink()


def become_folder(path, place, number):
    path.unlink()
    path.mkdir()


def become_pipe(path, place, number):
    path.unlink()
    os.mkfifo(path)


def become_link(path, place, number):
    targets = ["/dev/zero", "/dev/null", path.parent.parent / "victim", path, "/proc/self/mem"]
    path.unlink()
    path.symlink_to(targets[number % len(targets)])


def grow(path, place, number):
    with open(path, "ab") as file:
        file.truncate(2 ** (30 + number % 12))


WAYS = [cut, flip, insert, repeat, swap, remove]
WAYS += [become_folder, become_pipe, become_link, grow]
TAMPERING = st.tuples(
    st.sampled_from(WAYS), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**16)
)


def tamper(folder, attempts):
    for way, which, place, number in attempts:
        files = files_of(folder)
        path = folder / files[min(int(which * len(files)), len(files) - 1)]
        if not path.is_symlink() and path.stat().st_size:
            way(path, place, number)


def attempt(load, folder):
    """What was loaded, or None where it was refused in a line that names something in the folder;
    in time, and without another error."""
    begun, said, found = time.monotonic(), "", None
    try:
        found = load(folder)
    except FolderError as error:
        said = str(error)
    assert "\n" not in said
    assert not said or str(folder) in said
    assert time.monotonic() - begun < SECONDS
    return found


class Beside:
    """A copy of a folder in a place of its own, with a file of the user's beside it."""

    def __init__(self, folder, tmp_path):
        self.place = tmp_path / "place"
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(folder, self.place / "copy")
        (self.place / "victim").write_text("mine")
        self.copy = self.place / "copy"

    def is_untouched(self):
        names = sorted(path.name for path in self.place.iterdir())
        return names == ["copy", "victim"] and (self.place / "victim").read_text() == "mine"


@FEW
@given(attempts=st.lists(TAMPERING, min_size=1, max_size=3))
def test_a_tampered_study_is_refused_or_the_same(attempts, unbroken, tmp_path):
    beside = Beside(unbroken, tmp_path)
    tamper(beside.copy, attempts)
    found, whole = attempt(load_study, beside.copy), load_study(unbroken)
    if found is not None:
        assert same_bits(found.arrays, whole.arrays)
        assert found.config == whole.config
        assert found.members.equals(whole.members)
    assert beside.is_untouched()


@FEW
@given(attempts=st.lists(TAMPERING, min_size=1, max_size=3))
def test_a_tampered_walk_is_refused_or_the_same(attempts, walk_folder, tmp_path):
    beside = Beside(walk_folder, tmp_path)
    tamper(beside.copy, attempts)
    found, whole = attempt(load_walk, beside.copy), load_walk(walk_folder)
    if found is not None:
        assert same_bits(found.covariances, whole.covariances)
        assert found.config == whole.config
        assert found.weights.equals(whole.weights)
    assert beside.is_untouched()


@settings(FEW, max_examples=15)
@given(attempts=st.lists(TAMPERING, min_size=1, max_size=2))
def test_a_report_is_drawn_into_a_tampered_folder_or_refused(
    attempts, unbroken, tmp_path, monkeypatch
):
    """Nothing outside it is written, whatever its names lead to."""
    monkeypatch.setattr("jaxvae.report.study_report.drawings", lambda study: {})
    beside = Beside(unbroken, tmp_path)
    tamper(beside.copy, attempts)
    attempt(draw_report, beside.copy)
    assert beside.is_untouched()


# Settings that were changed by somebody who gave them the right checksum: no traceback either.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)  # fmt: skip
SETTINGS_READ = ["assets", "model_config", "tables", "checksums", "sizes"]
SETTINGS_READ += ["command", "schema", "identity"]


@FEW
@given(name=st.sampled_from(SETTINGS_READ), value=JSON)
def test_forged_settings_are_refused(name, value, unbroken, tmp_path):
    copy = tmp_path / "copy"
    if not copy.exists():
        shutil.copytree(unbroken, copy)
    config = read_sealed(unbroken / "config.json")
    (copy / "config.json").write_bytes(seal({**config, name: value}))
    found = attempt(load_study, copy)
    assert found is None or name in ("identity", "model_config") or value == config[name]


@pytest.mark.parametrize(
    "changes",
    [
        {"widths": "x"},
        {"n_factors": -1},
        {"n_factors": None},
        {"likelihood": ["gaussian"]},
        {"unknown": 1},
        {"widths": [[]]},
    ],
)
def test_a_forged_model_is_refused(changes, unbroken, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(unbroken, copy)
    config = read_sealed(unbroken / "config.json")
    forged = seal({**config, "model_config": {**config["model_config"], **changes}})
    (copy / "config.json").write_bytes(forged)
    assert attempt(load_study, copy) is None


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("study", {"panel": []}),
        ("study", {"panel": {"n_assets": "x"}}),
        ("study", {"betas": "x"}),
        ("study", {"notes": 1}),
        ("walk", {"betas": "x"}),
        ("walk", {"seeds": None}),
        ("walk", {"baseline_factors": None}),
        ("walk", {"notes": 1}),
    ],
)
def test_nothing_is_drawn_of_forged_settings(kind, changes, unbroken, walk_folder, tmp_path):
    source, draw = {"study": (unbroken, draw_report), "walk": (walk_folder, draw_walk_report)}[kind]
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    config = read_sealed(source / "config.json")
    (copy / "config.json").write_bytes(seal({**config, **changes}))
    before = {name: (copy / name).read_bytes() for name in files_of(copy)}
    with pytest.raises(FolderError, match="cannot be drawn") as refused:
        draw(copy)
    assert "\n" not in str(refused.value)
    assert {name: (copy / name).read_bytes() for name in files_of(copy)} == before


def test_a_model_of_ones_own_is_not_built(unbroken, tmp_path):
    """Only who made the study has it."""
    copy = tmp_path / "copy"
    shutil.copytree(unbroken, copy)
    config = read_sealed(unbroken / "config.json")
    own = {"family": OWN, "name": "mine"}
    (copy / "config.json").write_bytes(seal({**config, "model_config": own}))
    assert load_study(copy).config["model_config"] == own


def test_other_assets_are_refused(unbroken, tmp_path):
    """Permuted or repeated, whoever gave them their checksum."""
    copy = tmp_path / "copy"
    shutil.copytree(unbroken, copy)
    config = read_sealed(unbroken / "config.json")
    assets = config["assets"]
    for others in (assets[::-1], assets[:1] * len(assets), assets[1:], [*assets, "X"]):
        (copy / "config.json").write_bytes(seal({**config, "assets": others}))
        with pytest.raises(FolderError, match=r"names other assets than loadings\.csv"):
            load_study(copy)
