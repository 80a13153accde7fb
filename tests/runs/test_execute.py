"""A procedure in memory or in a folder: kept as it comes, gone on with, read where it is done."""

from typing import NamedTuple

import numpy as np
import pytest
from launch import contents

from jaxvae.errors import FolderError, OptionError
from jaxvae.runs.documents import read_sealed
from jaxvae.runs.execute import Procedure, execute
from jaxvae.runs.files import write_files
from jaxvae.runs.results import with_checksums

SEEDS = {"command": "sum", "seeds": 2}


class Tile(NamedTuple):
    values: np.ndarray


class Sums(NamedTuple):
    command: str = "sum"

    def files(self, result):
        return with_checksums({"command": self.command, **result.config}, {"a.csv": b"a\n"})


class Result(NamedTuple):
    config: dict
    format: Sums = Sums()


def make_procedure(stop=False, **changes):
    """One of two tiles, which may be stopped between them."""

    def compute(on_progress, stage):
        kept = stage("train", Tile)
        for number in range(2 if kept else 0):
            on_progress("train", number)
            if stop and number:
                raise KeyboardInterrupt
            kept.put(number, Tile(np.full(2, number)))
        return Result({"notes": [], "identity": SEEDS})

    return Procedure(
        identity=lambda: SEEDS,
        compute=compute,
        read=lambda folder: Result(read_sealed(folder / "config.json")),
    )._replace(**changes)


def run(out=None, **options):
    told = []
    procedure = options.pop("procedure", make_procedure())
    return execute(procedure, lambda *where: told.append(where), out, **options), told


def test_without_a_folder_it_stays_in_memory():
    (result, beside), told = run()
    assert (result.config["notes"], beside, told) == ([], [], [])
    with pytest.raises(OptionError, match=r"^out: name the folder of the run to go on with$"):
        run(resume=True)


def test_a_new_folder_holds_the_results_and_no_work(tmp_path):
    (result, beside), told = run(
        tmp_path / "run", procedure=make_procedure(described={"source": "here"})
    )
    assert told == [("train", 0), ("train", 1), ("report", None)]
    assert result.config["source"] == "here"
    assert sorted(contents(tmp_path / "run")) == ["a.csv", "config.json"]
    assert read_sealed(tmp_path / "run" / "config.json")["source"] == "here"
    assert not beside


def test_one_that_was_stopped_is_gone_on_with_where_it_is_asked_for(tmp_path):
    run(tmp_path / "unbroken")
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(folder, procedure=make_procedure(stop=True))
    before = contents(folder)
    assert "work/train/tile-00000.safetensors" in before
    with pytest.raises(FolderError, match="holds an unfinished run; go on with resume=True"):
        run(folder)
    with pytest.raises(FolderError, match="was begun with another seeds: 2, now 3"):
        run(
            folder,
            resume=True,
            procedure=make_procedure(identity=lambda: {"command": "sum", "settings": {"seeds": 3}}),
        )
    assert contents(folder) == before
    run(str(folder), resume=True)
    assert contents(folder) == contents(tmp_path / "unbroken")


def test_a_finished_one_is_read_and_not_run_again(tmp_path):
    run(tmp_path / "run", procedure=make_procedure(described={"source": "here"}))
    before = contents(tmp_path / "run")
    (result, _), told = run(tmp_path / "run", resume=True)
    assert (result.config["source"], told) == ("here", [])
    with pytest.raises(FolderError, match="exists; name a new folder"):
        run(tmp_path / "run")
    with pytest.raises(FolderError, match="was begun with another seeds: 2, now 3"):
        run(
            tmp_path / "run",
            resume=True,
            procedure=make_procedure(identity=lambda: {**SEEDS, "seeds": 3}),
        )
    other = make_procedure(identity=lambda: {**SEEDS, "command": "product"})
    with pytest.raises(FolderError, match="is a sum's folder, no product's"):
        run(tmp_path / "run", resume=True, procedure=other)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_users_folder_is_left_as_it_is(tmp_path, resume):
    write_files(tmp_path, {"work/notes.txt": b"x", "a.csv": b"mine"})
    before = contents(tmp_path)
    with pytest.raises(FolderError, match=r"exists|is no run in work"):
        run(tmp_path, resume=resume)
    assert contents(tmp_path) == before


def test_what_is_no_path_is_refused():
    with pytest.raises(OptionError, match=r"^out: .* holds a null byte"):
        run("x\0")
