"""Memory that is free: the system's, or less where a control group of either version says so."""

import pytest

from jaxvae.training.host_memory import host_bytes_free

GIB = 2**30
MEMINFO = "MemTotal:       67108864 kB\nMemAvailable:   33554432 kB\nHugePages_Total: 0\n"


@pytest.fixture
def host(tmp_path):
    """Writes the files of a system with 32 GiB free, and more of them."""

    def write(**files):
        for name, text in {"proc/meminfo": MEMINFO, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return tmp_path

    return write


def group(folder, limit, used, files=0, version=2):
    """The files of a control group."""
    top = f"sys/fs/cgroup{'/memory' if version == 1 else ''}{folder}"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    names = names if version == 1 else ("memory.max", "memory.current", "inactive_file")
    return {
        f"{top}/{names[0]}": f"{limit}\n",
        f"{top}/{names[1]}": f"{used}\n",
        f"{top}/memory.stat": f"anon 123\n{names[2]} {files}\n",
    }


def test_without_groups_it_is_the_systems(host):
    assert host_bytes_free(host()) == 32 * GIB


def test_a_system_that_does_not_say_is_not_known(tmp_path):
    assert host_bytes_free(tmp_path) is None


@pytest.mark.parametrize(("version", "line"), [(1, "4:memory:"), (2, "0::")])
@pytest.mark.parametrize("own", ["", "/box", "/a/b"])
def test_a_groups_limit_counts_less_what_is_in_use(host, version, line, own):
    files = group(own, 8 * GIB, 3 * GIB, version=version)
    root = host(**{"proc/self/cgroup": f"5:cpu:/\n{line}{own or '/'}\n"}, **files)
    assert host_bytes_free(root) == 5 * GIB


@pytest.mark.parametrize(("version", "line"), [(1, "4:memory:"), (2, "0::")])
def test_files_in_memory_give_way(host, version, line):
    files = group("", 8 * GIB, 8 * GIB, 2 * GIB, version=version)
    assert host_bytes_free(host(**{"proc/self/cgroup": f"{line}/\n"}, **files)) == 2 * GIB


def test_a_containers_own_group_is_at_the_top(host):
    """Whatever its path is called outside."""
    files = group("", 8 * GIB, 3 * GIB, version=1)
    root = host(**{"proc/self/cgroup": "4:memory:/docker/0123\n"}, **files)
    assert host_bytes_free(root) == 5 * GIB


def test_a_group_around_the_own_one_counts(host):
    files = {**group("/a/b", "max", GIB), **group("/a", 4 * GIB, 3 * GIB)}
    assert host_bytes_free(host(**{"proc/self/cgroup": "0::/a/b\n"}, **files)) == GIB


def test_no_limit_is_none(host):
    """ "max" in version 2, a number beyond all memory in version 1."""
    for version, line, limit in ((2, "0::/", "max"), (1, "4:memory:/", 2**63 - 4096)):
        root = host(**{"proc/self/cgroup": line}, **group("", limit, GIB, version=version))
        assert host_bytes_free(root) == 32 * GIB


def test_it_is_never_negative(host):
    root = host(**{"proc/self/cgroup": "0::/"}, **group("", GIB, 2 * GIB))
    assert host_bytes_free(root) == 0
