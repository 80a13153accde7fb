"""Programs over tiles of members: devices that do not talk, memory that is looked at first."""

import functools
import gc
import inspect
import re
import weakref
from typing import NamedTuple
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from small import CONFIG, MODEL, grid, trained

from jaxvae.errors import OptionError
from jaxvae.training import ensemble, tiles
from jaxvae.training.tiles import concatenate, map_members, pad, require_memory, take, tile_program

DEVICES = tuple(jax.local_devices())
VALUES = np.arange(11.0, dtype=np.float32)
ONE = np.float32(1.0)
COLLECTIVE = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|collective-\w+|reduce-scatter|partition-id|send|recv)\b"
)


def double(value, shared):
    return 2 * value + shared


def test_a_trained_tile_needs_no_word_from_another_device():
    trained(grid())
    for function in (ensemble._start, ensemble._advance):
        programs = tile_program(function, DEVICES, MODEL, CONFIG).compiled.values()
        assert programs
        for program in programs:
            text = program.as_text()
            assert "num_partitions=2" in text
            assert not COLLECTIVE.findall(text)


def test_a_collective_would_be_seen():
    mesh = jax.sharding.Mesh(np.array(DEVICES), ("member",))
    total = jax.shard_map(
        lambda x: jax.lax.psum(x, "member"), mesh=mesh, in_specs=P("member"), out_specs=P()
    )
    text = jax.jit(total).lower(jnp.ones(4)).compile().as_text()
    assert COLLECTIVE.search(text)


@pytest.mark.parametrize("tile_width", [1, 3, 20])
def test_map_members_keeps_order_over_tiles(tile_width):
    found = map_members(double, VALUES, ONE, tile_width=tile_width)
    np.testing.assert_array_equal(found, 2 * VALUES + 1)


class Setting(NamedTuple):
    """Equal ones are not one object."""

    factor: int


TRACES = []


def scale(value, shared, setting, power):
    TRACES.append(setting)
    return setting.factor * value**power + shared


def test_equal_static_arguments_compile_once():
    TRACES.clear()
    for _ in range(3):
        found = map_members(scale, VALUES, ONE, Setting(3), 2)
        np.testing.assert_array_equal(found, 3 * VALUES**2 + 1)
    assert len(TRACES) == 1
    np.testing.assert_array_equal(map_members(scale, VALUES, ONE, Setting(2), 2), 2 * VALUES**2 + 1)
    np.testing.assert_array_equal(map_members(scale, VALUES, ONE, Setting(3), 1), 3 * VALUES + 1)
    map_members(scale, VALUES, ONE, Setting(3), 2)
    assert len(TRACES) == 3


def test_programs_no_longer_used_are_let_go():
    """With their memory mappings, of which a process has only so many."""
    first = weakref.ref(tile_program(lambda value, shared: value, DEVICES))
    assert first() is not None
    for number in range(tiles.MOST_PROGRAMS):
        tile_program(functools.partial(double, number), DEVICES)
    gc.collect()
    assert first() is None


def test_shapes_no_longer_used_are_let_go():
    for width in range(1, tiles.MOST_SHAPES + 3):
        map_members(double, VALUES[:2], ONE, tile_width=width)
    programs = tile_program(double, DEVICES).compiled
    assert len(programs) == tiles.MOST_SHAPES
    newest = programs[next(reversed(programs))]
    map_members(double, VALUES[:2], ONE, tile_width=width)
    assert programs[next(reversed(programs))] is newest


def test_tiles_are_cut_padded_and_joined():
    cut = tiles.tiles(11, 4)
    assert [(rows.start, rows.stop) for rows in cut] == [(0, 4), (4, 8), (8, 11)]
    tree = {"a": VALUES, "b": np.arange(22).reshape(11, 2)}
    parts = [take(tree, rows) for rows in cut]
    padded = pad(parts[-1], 4)
    assert padded["a"].tolist() == [8, 9, 10, 10]
    assert padded["b"][-1].tolist() == [20, 21]
    joined = concatenate(parts)
    assert all((joined[name] == tree[name]).all() for name in tree)


# Memory


def test_a_tile_that_does_not_fit_is_refused_with_a_width_that_does(monkeypatch):
    """On the way to the first call, and by what the compiler says that it takes."""
    wide = np.ones((64, 1000), np.float32)

    def function(value, shared):
        return value + shared

    def run(tile_width):
        map_members(function, wide, ONE, tile_width=tile_width, devices=DEVICES)

    # A row comes and a row goes, 4,000 bytes each.
    monkeypatch.setattr(tiles, "_bytes_free", lambda devices: 100_000)
    with pytest.raises(OptionError, match=r"tile_width: 32 members at once need") as error:
        run(32)
    advised = int(re.search(r"set it to (\d+)$", str(error.value))[1])
    assert 8 <= advised <= 12
    run(advised)


def test_training_looks_at_memory_first(monkeypatch):
    monkeypatch.setattr(tiles, "_bytes_free", lambda devices: 1000)
    with pytest.raises(OptionError, match=r"tile_width: 5 .* take fewer assets, dates or factors"):
        trained(grid(seeds=(0,), betas=(1.0,)), tile_width=5)


class Sizes(NamedTuple):
    argument_size_in_bytes: int = 1_000_000_000
    output_size_in_bytes: int = 500_000_000
    temp_size_in_bytes: int = 500_000_000


class Compiled(NamedTuple):
    sizes: Sizes | None = Sizes()

    def memory_analysis(self):
        return self.sizes


def device(limit=None, in_use=0):
    """A device with memory of its own, or without."""
    fake = Mock(spec=jax.Device)
    fake.memory_stats.return_value = limit and {"bytes_limit": limit, "bytes_in_use": in_use}
    return fake


def test_a_devices_own_memory_counts():
    require_memory(Compiled(), (device(3 * 10**9, 10**9),), 8)
    with pytest.raises(OptionError) as error:
        require_memory(Compiled(), (device(9 * 10**9, 8 * 10**9),), 8)
    assert str(error.value) == (
        "tile_width: 8 members at once need 2.0 GB a device, 1.0 GB are free; set it to 4"
    )


def test_devices_without_memory_share_the_hosts(monkeypatch):
    monkeypatch.setattr(tiles, "host_bytes_free", lambda: 3_000_000_000)
    require_memory(Compiled(), (device(),), 8)
    with pytest.raises(OptionError, match=r"need 2.0 GB a device, 1.5 GB are free; set it to 6"):
        require_memory(Compiled(), (device(), device()), 8)


def test_what_is_not_known_is_not_refused(monkeypatch):
    monkeypatch.setattr(tiles, "host_bytes_free", lambda: None)
    require_memory(Compiled(), (device(),), 8)
    require_memory(Compiled(None), (device(1),), 8)


@pytest.mark.parametrize("wrong", [0, -1, 2**31, True, 2.0, "4"])
def test_wrong_widths_are_refused(wrong):
    with pytest.raises(OptionError, match=r"^tile_width: "):
        inspect.unwrap(tiles.resolve_width)(wrong, DEVICES)
