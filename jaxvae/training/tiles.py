"""A function of one member over a tile of them: `vmap` within a device, `shard_map` over devices.

Devices do not talk to each other. A program is compiled once for each set of shapes, and the memory
that it takes is looked at before it runs.
"""

import functools
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxvae.errors import OptionError, check_option
from jaxvae.training.host_memory import host_bytes_free
from jaxvae.xla import compiler_options

# Members at once on a device. A CPU's caches hold few; an accelerator wants many.
TILE_WIDTHS = {"cpu": 4}
WIDE = 256
# Programs kept: those of several studies. Each holds memory mappings, of which Linux gives a
# process 65,530; a loop over many settings would use them up, and XLA would crash.
MOST_PROGRAMS, MOST_SHAPES = 64, 8
# Names of the functions whose programs are being compiled now, by all threads.
_in_work: list[str] = []
Function = Callable[..., Any]
Devices = tuple[jax.Device, ...]


class TileProgram:
    """`function(member, shared, *static)` for every member of a tile, the tile cut over the
    devices."""

    def __init__(self, function: Function, devices: Devices, static: tuple[Hashable, ...]) -> None:
        # The function's name is the program's, in profiles and in the compilation cache.
        @functools.wraps(function)
        def of_member(member: Any, shared: Any) -> Any:
            return function(member, shared, *static)

        mesh = Mesh(np.array(devices), ("member",))
        over_tile = jax.shard_map(
            jax.vmap(of_member, in_axes=(0, None)),
            mesh=mesh,
            in_specs=(P("member"), P()),
            out_specs=P("member"),
            check_vma=False,
        )
        options = compiler_options(devices[0].platform, len(devices))
        self.jitted = jax.jit(over_tile, compiler_options=options)
        self.name, self.devices = of_member.__name__, devices
        self.compiled: dict[Any, Any] = {}
        self.lock = threading.Lock()

    def __call__(self, tile: Any, shared: Any) -> Any:
        return self.compile(tile, shared)(tile, shared)

    def compile(self, tile: Any, shared: Any) -> Any:
        """The program for arrays of these shapes; who asks while another thread compiles it waits
        for that."""
        leaves, structure = jax.tree.flatten((tile, shared))
        shapes = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves))
        with self.lock:
            if shapes not in self.compiled:
                while len(self.compiled) >= MOST_SHAPES:
                    del self.compiled[next(iter(self.compiled))]
                with _listed(self.name):
                    compiled = self.jitted.lower(tile, shared).compile()
                require_memory(compiled, self.devices, _width(tile) // len(self.devices))
                self.compiled[shapes] = compiled
            return self.compiled[shapes]


@contextmanager
def _listed(name: str) -> Iterator[None]:
    """`name` among what is being compiled."""
    _in_work.append(name)
    try:
        yield
    finally:
        _in_work.remove(name)


def compiling() -> list[str]:
    """Names of the functions whose programs are being compiled now, of several threads one each."""
    return list(_in_work)


@functools.lru_cache(MOST_PROGRAMS)
def tile_program(function: Function, devices: Devices, *static: Hashable) -> TileProgram:
    """The program of a function and its static arguments; the same object for equal arguments while
    it is among those used last."""
    return TileProgram(function, devices, static)


def map_members(
    function: Function,
    by_member: Any,
    shared: Any,
    *static: Hashable,
    tile_width: int | None = None,
    devices: Devices | None = None,
) -> Any:
    """`function(member's slice, shared, *static)` for every member, tile by tile.

    Args:
        function: of one member; the same object from call to call, as a function of a module is, or
            it compiles anew.
        by_member: arrays with the member axis first.
        shared: arrays that all members see.
        static: what a program is compiled for, a model or a number; equal ones compile once.
        tile_width: members at once on each device, by default what suits it.
        devices: by default all of this process.

    Returns:
        Host arrays with the member axis first.
    """
    program, width = _program_of(function, devices, static, tile_width)
    parts = []
    for rows in tiles(_width(by_member), width):
        tile = take(by_member, rows)
        outputs = jax.device_get(program(pad(tile, width), shared))
        parts.append(take(outputs, slice(0, _width(tile))))
    return concatenate(parts)


def compile_for(
    function: Function,
    member: Any,
    shared: Any,
    *static: Hashable,
    tile_width: int | None = None,
) -> None:
    """Compile what `map_members` runs for members of one's shapes.

    Args:
        member: arrays or `jax.ShapeDtypeStruct`s of one member, without a member axis.
        function, shared, static, tile_width: as `map_members` takes them.
    """
    program, width = _program_of(function, None, static, tile_width)
    tile = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((width, *leaf.shape), leaf.dtype), member)
    program.compile(tile, shared)


def _program_of(
    function: Function,
    devices: Devices | None,
    static: tuple[Hashable, ...],
    tile_width: int | None,
) -> tuple[TileProgram, int]:
    """The program, and members at once on all devices together."""
    devices = tuple(jax.local_devices()) if devices is None else devices
    width = resolve_width(tile_width, devices) * len(devices)
    return tile_program(function, devices, *static), width


def resolve_width(tile_width: int | None, devices: Devices) -> int:
    """The width asked for, or the constant for the devices' platform.

    Raises OptionError on a width that is no whole number from 1 on.
    """
    if tile_width is None:
        return TILE_WIDTHS.get(devices[0].platform, WIDE)
    checked: int = check_option("tile_width", tile_width, int, least=1)
    return checked


def tiles(n_members: int, width: int) -> list[slice]:
    """Consecutive members, so many at a time; the last tile may have fewer."""
    starts = range(0, n_members, width)
    return [slice(start, min(start + width, n_members)) for start in starts]


def take(tree: Any, rows: slice | np.ndarray) -> Any:
    """Some members of a tree with the member axis first."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def pad(tree: Any, width: int, mode: Literal["edge", "constant"] = "edge") -> Any:
    """Up to the width the last member again, or in the mode "constant" zeros; copies, so that
    callers may write."""

    def longer(leaf: Any) -> np.ndarray:
        others = [(0, 0)] * (np.ndim(leaf) - 1)
        padded: np.ndarray = np.pad(leaf, [(0, width - len(leaf)), *others], mode=mode)
        return padded

    return jax.tree.map(longer, tree)


def concatenate(parts: Sequence[Any]) -> Any:
    """Trees joined along the member axis."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def require_memory(compiled: Any, devices: Devices, width: int) -> None:
    """OptionError where a compiled program takes more memory than is at hand."""
    needed, free = _bytes_needed(compiled), _bytes_free(devices)
    if needed is None or free is None or needed <= free:
        return
    fits = int(width * free / needed)
    advice = f"set it to {fits}" if fits else "take fewer assets, dates or factors"
    raise OptionError(
        "tile_width",
        f"{width} members at once need {needed / 1e9:,.1f} GB a device, "
        f"{free / 1e9:,.1f} GB are free; {advice}",
    )


def _bytes_needed(compiled: Any) -> int | None:
    """What a program takes on each device: arguments, results and what lies between."""
    sizes = compiled.memory_analysis()
    if sizes is None:
        return None
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return int(sum(getattr(sizes, part) for part in parts))


def _bytes_free(devices: Devices) -> int | None:
    """What each device has left: of its own memory, or of the host's that CPU devices share."""
    statistics = devices[0].memory_stats()
    if statistics:
        return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
    free = host_bytes_free()
    return None if free is None else free // len(devices)


def _width(tree: Any) -> int:
    return len(jax.tree.leaves(tree)[0])
