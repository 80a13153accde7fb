"""Memory that this process can still take of its host: what the system has, and its control group.

In a container the system shows the whole host's memory; the kernel ends a process that goes beyond
its control group's. Version 1 and 2 of control groups differ in the names of their files
(https://docs.kernel.org/admin-guide/cgroup-v2.html).
"""

from collections.abc import Iterator
from pathlib import Path

# Of each version: where its groups are mounted, its limit, what is in use, and in `memory.stat` the
# part of it that holds files, which is given up when memory runs short.
VERSIONS = {
    "1": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    "2": ("", "memory.max", "memory.current", "inactive_file"),
}


def host_bytes_free(root: Path = Path("/")) -> int | None:
    """What is left of the host's memory to this process, in bytes.

    Args:
        root: of the file system.

    Returns:
        The least of what the system and every control group around the process have left, not
        negative; None where the system does not say.
    """
    system = _numbers(root / "proc/meminfo").get("MemAvailable:")
    free = [*_left_in_groups(root), *([] if system is None else [1024 * system])]
    return max(0, min(free)) if free else None


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each control group with a limit has left, from the process's own to the outermost."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        mount, limit, in_use, files = VERSIONS["1" if controllers else "2"]
        top = root / "sys/fs/cgroup" / mount
        # Within a container its own group is mounted at the top, whatever its path outside.
        inner = top / path.lstrip("/")
        for group in (inner, *inner.parents):
            most, used = (_whole(group / name) for name in (limit, in_use))
            if most is not None and used is not None:
                yield most - used + _numbers(group / "memory.stat").get(files, 0)
            if group == top:
                break


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _whole(path: Path) -> int | None:
    """The number that a file holds; None where it holds none, such as "max"."""
    line = "".join(_lines(path)).strip()
    return int(line) if line.isdigit() else None


def _numbers(path: Path) -> dict[str, int]:
    """The first number of each line by its first word."""
    words = (line.split() for line in _lines(path))
    return {first: int(second) for first, second, *_ in words if second.isdigit()}
