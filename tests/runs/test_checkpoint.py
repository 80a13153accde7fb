"""Files of arrays: the same bits come back; what is damaged is refused and never runs."""

import json
import os
import pickle
import stat
import struct
from typing import Any, NamedTuple

import numpy as np
import pytest
from kept import full_disk, save_tree
from safetensors.numpy import load, save
from small import same_bits

from jaxvae.errors import FolderError
from jaxvae.runs import checkpoint
from jaxvae.runs.checkpoint import load_tree, restore
from jaxvae.runs.documents import SCHEMA
from jaxvae.runs.files import write_file

NOTES = {"run": "a hash", "epoch": "20"}


def example():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(2, 3)).astype(np.float32)
    numbers[0, :] = (np.nan, -0.0, np.inf)
    return {
        "mean": {"kernel": numbers, "bias": np.arange(3, dtype=np.uint32), "none": {}},
        "ok": np.array([True, False]),
        "epoch": np.int32(7),
        "turned": np.asfortranarray(rng.normal(size=(3, 2))),
        "empty": np.zeros((0, 4)),
    }


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tree.safetensors"
    save_tree(example(), path, NOTES)
    return path


def test_a_tree_comes_back_bit_for_bit(path):
    tree, notes = load_tree(path)
    assert same_bits(tree, example())
    assert tree["mean"]["none"] == {}
    assert tree["empty"].shape == (0, 4)
    assert notes == NOTES


def test_the_same_tree_is_the_same_file(path):
    first = path.read_bytes()
    for _ in range(10):
        save_tree(example(), path, NOTES)
        assert path.read_bytes() == first


class Inner(NamedTuple):
    values: np.ndarray
    anything: Any


class Outer(NamedTuple):
    inner: Inner
    scale: np.ndarray
    more: Inner | None = None


@pytest.mark.parametrize("more", [None, Inner(np.ones(2), np.zeros(1))])
def test_named_tuples_come_back_as_they_were(more, tmp_path):
    inner = Inner(np.arange(3), {"encoder": {}, "decoder": {"a": np.ones(2)}})
    value = Outer(inner, np.ones(1), more)
    save_tree(value, tmp_path / "a")
    again = restore(Outer, load_tree(tmp_path / "a").tree)
    assert same_bits(again, value)
    assert again.inner.anything.keys() == {"encoder", "decoder"}


class Perhaps(NamedTuple):
    inner: Inner | None = None
    array: Any = None


@pytest.mark.parametrize("inner", [None, Inner(np.arange(3), {"deep": np.ones(2)})])
def test_a_part_that_is_none_stays_none(inner, tmp_path):
    save_tree(Perhaps(inner, np.ones(2)), tmp_path / "a")
    again = restore(Perhaps, load_tree(tmp_path / "a").tree)
    assert (again.inner is None) == (inner is None)
    assert same_bits(again, Perhaps(inner, np.ones(2)))


# Damage


def assert_refused(path, words="is damaged"):
    with pytest.raises(FolderError, match=words) as error:
        load_tree(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused_at_any_length(path):
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert_refused(path)


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_no_flipped_bit_changes_what_is_read(bit, path):
    """Nearly all are refused; the few that are not say the same in other words."""
    content, refused = path.read_bytes(), 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            tree, notes = load_tree(path)
        except FolderError:
            refused += 1
        else:
            assert same_bits(tree, example())
            assert notes == NOTES
    assert refused > 0.99 * len(content)


def with_header(content, change):
    """A file with another header before the same data."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def forged(content, text):
    """A file with other notes, whose checksum is right."""
    arrays = load(content)
    marks = {"schema": SCHEMA, "checksum": checkpoint._checksum(arrays, text), "text": text}
    return save(arrays, metadata={"jaxvae": json.dumps(marks)})


def test_what_is_forged_below_is_the_notes_alone(path):
    path.write_bytes(forged(path.read_bytes(), '[{"run": "x"}, []]'))
    assert load_tree(path).notes == {"run": "x"}


FORGED = {
    "a header longer than the file": lambda c: struct.pack("<Q", 2**20) + c[8:],
    "a header of exabytes": lambda c: struct.pack("<Q", 2**62) + c[8:],
    "no header": lambda c: struct.pack("<Q", 0) + c[8:],
    "more data than there are": lambda c: with_header(
        c, lambda h: h["epoch"].update(shape=[2**40], data_offsets=[0, 2**42])
    ),
    "a shape of more than its data": lambda c: with_header(
        c, lambda h: h["epoch"].update(shape=[2**40])
    ),
    "a shape beyond all numbers": lambda c: with_header(
        c, lambda h: h["epoch"].update(shape=[2**40, 2**40])
    ),
    "another type of the same size": lambda c: with_header(
        c, lambda h: h["epoch"].update(dtype="F32")
    ),
    "a type without a counterpart": lambda c: with_header(
        c, lambda h: h["mean/bias"].update(dtype="F8_E4M3", shape=[12])
    ),
    "another name": lambda c: with_header(c, lambda h: h.update(other=h.pop("epoch"))),
    "no marks": lambda c: with_header(c, lambda h: h.pop("__metadata__")),
    "marks of nothing": lambda c: with_header(c, lambda h: h.update(__metadata__={"jaxvae": "{}"})),
    "marks without end": lambda c: with_header(
        c, lambda h: h.update(__metadata__={"jaxvae": "[" * 100_000})
    ),
    "notes without end": lambda c: forged(c, "[" * 100_000),
    "notes that are a list": lambda c: forged(c, "[[], []]"),
    "notes that are a number": lambda c: forged(c, "3"),
    "names that are no list": lambda c: forged(c, "[{}, 3]"),
    "names that are no text": lambda c: forged(c, "[{}, [[]]]"),
    "text": lambda c: b"date,A\n2020-01-01,0.1\n",
    "nothing": lambda c: b"",
    "another program's": lambda c: save({"a": np.ones(3)}),
}


@pytest.mark.parametrize("fault", FORGED)
def test_a_forged_file_is_refused(fault, path):
    path.write_bytes(FORGED[fault](path.read_bytes()))
    assert_refused(path)


class Touch:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_refused_and_does_not_run(path, tmp_path):
    victim = tmp_path / "victim"
    path.write_bytes(pickle.dumps(Touch(str(victim))))
    assert_refused(path)
    with open(path, "wb") as file:
        np.save(file, np.array([Touch(str(victim))]), allow_pickle=True)
    assert_refused(path)
    assert not victim.exists()


@pytest.mark.parametrize("schema", [1, SCHEMA + 1])
def test_another_schema_is_refused(schema, path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "SCHEMA", schema)
        save_tree(example(), path)
    assert_refused(path, f"has schema {schema}; this version reads {SCHEMA}: run it again")


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/a", ".hidden", "a//b", "a\\b", "", "a/"]
)
def test_a_name_that_leaves_the_tree_is_refused(name, path):
    save_tree({name: np.ones(2)}, path)
    assert name in load(path.read_bytes())
    assert_refused(path, "it names an array")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a")])
def test_a_name_inside_an_array_is_refused(names, path):
    save_tree(dict.fromkeys(names, np.ones(2)), path)
    assert_refused(path, "it names an array")


def test_a_missing_file_is_named(tmp_path):
    assert_refused(tmp_path / "none", "is missing")


def test_a_folder_is_no_file(tmp_path):
    assert_refused(tmp_path, "is a folder where a plain file belongs")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe", "is a pipe or device")


@pytest.mark.parametrize(("name", "words"), [("\0", "null byte"), ("x" * 300, "name too long")])
def test_what_is_no_name_is_no_file(name, words, tmp_path):
    assert_refused(tmp_path / name, f"cannot be read: .*{words}")


def test_a_link_is_not_followed(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    assert_refused(link, "is a symbolic link")


# Writing


def assert_untouched(path):
    assert same_bits(load_tree(path).tree, example())
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_a_full_disk_leaves_the_older_file(path):
    with pytest.raises(FolderError, match="cannot be written: File too large"), full_disk(200):
        save_tree({"a": np.ones(1000)}, path)
    assert_untouched(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_refusal_leaves_the_older_file(step, path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(FolderError, match="cannot be written: Permission denied"):
        save_tree({"a": np.ones(3)}, path)
    assert_untouched(path)


def test_a_planted_link_is_not_written_through(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path.with_name(f".{path.name}.partial").symlink_to(victim)
    save_tree(example(), path)
    assert victim.read_text() == "mine"
    assert same_bits(load_tree(path).tree, example())


def test_a_file_lasts_before_it_has_its_name_and_then_its_name_does(tmp_path, monkeypatch):
    done = []

    def recorded(name, target):
        real = getattr(os, name)

        def call(*arguments):
            done.append((name, target(*arguments)))
            return real(*arguments)

        monkeypatch.setattr(os, name, call)

    recorded("fsync", lambda handle: stat.S_ISDIR(os.fstat(handle).st_mode))
    recorded("replace", lambda source, target: target.name)
    write_file(tmp_path / "a", b"content")
    assert done == [("fsync", False), ("replace", "a"), ("fsync", True)]
