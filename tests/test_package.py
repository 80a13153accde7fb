"""What is installed: names that are there and typed, a wheel that holds all it needs."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from packaging.requirements import Requirement

import jaxvae

ROOT = Path(__file__).parent.parent
SHIPPED = {".py", ".pyi", ".j2", ".typed"}
FOLDERS = ("jaxvae", "tests", "experiments", "benchmarks", ".ci")
# Those that read files of the repository.
OF_FILES = ("architecture", "package", "readme", "notebooks", "experiments", "benchmarks")
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def test_every_public_name_is_there():
    for name in jaxvae.__all__:
        assert getattr(jaxvae, name) is not None, name
    assert dir(jaxvae) == sorted(jaxvae.__all__)
    assert jaxvae.__version__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = jaxvae.nothing
    with pytest.raises(AttributeError, match="did you mean run_study"):
        _ = jaxvae.run_stduy


def test_importing_it_imports_nothing_heavy():
    code = "import sys, jaxvae; assert not {'jax', 'numpy', 'pandas', 'flax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_what_is_installed_lies_within_bounds_that_are_closed_above():
    """Of dependencies and of the extras of users; those for development follow the newest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [x for name, needs in extras.items() if name not in ("test", "dev") for x in needs]
    for line in [*project["dependencies"], *named]:
        wanted = Requirement(line)
        assert any(one.operator in ("<", "==") for one in wanted.specifier), line
        with suppress(PackageNotFoundError):
            assert version(wanted.name) in wanted.specifier, line


# Each of which a type checker refuses.
WRONG_CALLS = (
    "jaxvae.TrainConfig(epoch=3)",
    "jaxvae.TrainConfig(optimiser=3)",
    "jaxvae.TrainConfig(reduction='median')",
    "jaxvae.StudyConfig(seeds='many')",
    "jaxvae.StudyConfig(preset='notebok')",
    "jaxvae.load_stduy('runs')",
    "jaxvae.run_study(panel, seed=1)",
    "jaxvae.run_study(panel, modle='linear')",
    "jaxvae.run_study(panel, seeds='many')",
    "jaxvae.run_study(panel, n_factors='many')",
    "jaxvae.plan_study(panel, sead=1)",
    "jaxvae.walk_forward(panel, windo=3)",
    "jaxvae.VAEFactors(n_components='many')",
    "jaxvae.VAEFactors(epochs='a')",
    "study.plot.loadingz()",
)


@pytest.mark.parametrize("kind", ["Study", "Walk"])
def test_what_a_type_checker_knows_of_settings_is_what_they_are(kind):
    module = import_module(f"jaxvae.{'fitting' if kind == 'Study' else 'walk'}.config")
    config, typed = (getattr(module, f"{kind}{end}") for end in ("Config", "Settings"))
    known = get_type_hints(typed)
    assert [*known.items()] == [(one.name, one.type) for one in fields(config)]
    assert not typed.__required_keys__
    for one in fields(config):
        parts = (one.type, *get_args(one.type))
        texts = [text for part in parts if get_origin(part) is Literal for text in get_args(part)]
        assert not texts or (*texts,) == one.metadata["limits"]["choices"]


@pytest.mark.slow
def test_a_type_checker_knows_its_names(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    lines = [
        "import jaxvae, optax; panel, study = jaxvae.load_sp500(), jaxvae.load_study('runs')",
        *WRONG_CALLS,
        "jaxvae.TrainConfig(epochs=3, optimiser=optax.adam(0.1))",
        "jaxvae.run_study(panel, seeds=3, n_factors='auto', preset='notebook')",
        "jaxvae.VAEFactors(3, epochs=100)",
        "study.plot.loadings().savefig('loadings.png')",
        *(f"jaxvae.{name}" for name in jaxvae.__all__),
    ]
    script.write_text("\n".join(lines))
    words = ["--config-file", ROOT / "pyproject.toml", "--follow-imports=silent", script]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    found = [int(line.split(":")[1]) for line in errors]
    assert found == [*range(2, 2 + len(WRONG_CALLS))], done.stdout + done.stderr
    assert 'Unexpected keyword argument "epoch"' in errors[0]


@pytest.mark.slow
def test_a_source_distribution_holds_the_repository_and_passes_from_it(tmp_path):
    """Without git, and whatever else is installed."""
    tools, env = tmp_path / "tools", {**os.environ}
    subprocess.run([*PIP, "install", "--target", str(tools), "build"], check=True)
    build = [sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), str(ROOT)]
    env["PYTHONPATH"] = str(tools)
    subprocess.run(build, check=True, cwd=tmp_path, env=env, capture_output=True)
    (packed,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(packed) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("jaxvae-*/")
    held = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    paths = [path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()]
    paths += [path for path in ROOT.glob("[!.]*") if path.is_file()]
    wanted = {path.relative_to(ROOT) for path in paths if "__pycache__" not in path.parts}
    assert wanted <= held
    tests = [f"tests/test_{name}.py" for name in OF_FILES]
    env["PYTHONPATH"] = str(source)
    words = ["pytest", "-n", "0", "-m", "not slow", *tests]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=source, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_wheel_runs_a_study_and_draws_its_report(returns_csv, compilation_cache, tmp_path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(
        ROOT / "jaxvae", source / "jaxvae", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    files = {path for path in (ROOT / "jaxvae").rglob("*") if path.suffix in SHIPPED}
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {path.relative_to(ROOT).as_posix() for path in files} <= held
    assert not any(name.startswith("tests") for name in held)

    target = ["install", "--no-deps", "--no-index", "--target", str(installed)]
    subprocess.run([*PIP, *target, str(wheel)], check=True)
    (tmp_path / "elsewhere").mkdir()

    def command(*words):
        subprocess.run(
            [sys.executable, str(installed / "bin" / "jaxvae"), *map(str, words)],
            check=True,
            cwd=tmp_path / "elsewhere",
            env=os.environ | {"PYTHONPATH": str(installed)},
        )

    small = [
        "--seeds",
        2,
        "--betas",
        1,
        "--factors",
        2,
        "--model",
        "linear",
        "--epochs",
        12,
        "--quiet",
    ]
    out = tmp_path / "study"
    command("study", "--data", returns_csv, "--out", out, *small)
    drawn = (out / "report.html").read_bytes()
    command("report", out)
    assert (out / "report.html").read_bytes() == drawn
