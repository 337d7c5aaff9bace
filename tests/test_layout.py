"""The rules of the house that a machine can check: imports, names, sizes, paths, documents."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import maestro_lab
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "maestro_lab"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "xarray", "numpy", "matplotlib", "pandas", "sklearn", "dask", "scipy", "zarr")
ENTRY_POINTS = {"maestro_lab.__main__"}


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [name for name in map(module_name, FILES) if name not in ENTRY_POINTS]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path: Path, *, types: bool = False) -> set[str]:
    """Names of all modules a file imports, anywhere in it; with ``types`` also for types alone."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if is_type_checking(node) and not types:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def uses(path: Path, *modules: str, types: bool = False) -> list[str]:
    """Which of some modules a file imports, or anything inside them."""
    there = imports(path, types=types)
    return [m for m in modules if any(f == m or f.startswith(f"{m}.") for f in there)]


def room(name: str) -> list[Path]:
    files = [f for f in FILES if module_name(f).startswith(f"maestro_lab.{name}")]
    assert files, name
    return files


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return done.stdout.strip()


def seconds(code: str, runs: int = 8) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
        best = min(best, time.perf_counter() - start)
    return best


def test_importing_the_package_costs_nothing():
    cost = seconds("import maestro_lab") - seconds("pass")
    assert cost < 0.1, f"{cost:.3f} s"


def test_importing_the_package_loads_nothing_heavy():
    loaded = python("import maestro_lab, sys; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_cubes_and_bands_run_without_torch():
    names = [m for m in MODULES if re.match(r"maestro_lab\.(cubes|bands|catalogue|contract)", m)]
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
import maestro_lab as ml
from maestro_lab.bands import group_bands
group_bands(ml.open_cube("landscape", samples=2, modalities=["s1_asc"]))
print("torch" in sys.modules, "xarray" in sys.modules)
"""
    assert len(names) > 15
    assert python(code) == "False True"


@pytest.mark.parametrize(
    ("where", "never"),
    [
        ("cubes", ("torch", "einops", "matplotlib")),
        ("bands", ("torch", "einops", "matplotlib")),
        ("models", ("xarray", "dask", "zarr", "rasterio", "matplotlib", "pandas")),
        ("published", ("xarray", "dask", "zarr", "rasterio", "matplotlib", "pandas")),
        ("training", ("matplotlib", "holoviews", "ipywidgets", "xarray")),
        ("contract", ("torch", "xarray", "numpy")),
        ("errors", HEAVY),
    ],
)
def test_a_room_knows_its_own_libraries_only(where, never):
    assert {f.name: uses(f, *never, types=True) for f in room(where)} == {
        f.name: [] for f in room(where)
    }


ROOMS = ("catalogue", "cubes", "bands", "batches", "models", "published", "training", "runs",
         "figures", "explore", "reopen", "band_steps", "workflow", "verdicts", "cli", "olmoearth",
         "datasets", "tuning")  # fmt: skip
MAY_IMPORT = {
    "cubes": (),
    "bands": ("cubes",),
    "catalogue": ("cubes",),
    "batches": ("catalogue", "cubes", "bands"),
    "models": (),
    "published": ("catalogue", "models"),
    "training": ("batches", "cubes", "models"),
    "runs": (),
    "olmoearth": ("batches", "cubes", "models"),
    "figures": ("bands", "batches", "cubes", "models", "training"),
    "explore": (
        "bands",
        "batches",
        "cubes",
        "figures",
        "models",
        "runs",
        "training",
        "workflow",
    ),
}


@pytest.mark.parametrize("where", MAY_IMPORT)
def test_arrows_run_one_way(where):
    wrong = {
        f"{module_name(f)} imports {other}"
        for f in room(where)
        for other in ROOMS
        if other not in (where, *MAY_IMPORT[where]) and uses(f, f"maestro_lab.{other}")
    }
    assert not wrong


def test_what_draws_does_not_train():
    trainers = [f"maestro_lab.training.{m}" for m in ("loop", "pretrain", "schedule", "checkpoint")]
    for path in room("figures") + room("explore"):
        assert not uses(path, "torch.optim", "accelerate", *trainers), path.name
        assert ".backward(" not in path.read_text(encoding="utf-8"), path.name


def called(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return {c.id for c in calls if isinstance(c, ast.Name)}


def test_models_do_not_print_and_only_weights_touch_files():
    for path in room("models"):
        assert "print" not in called(path), path.name
        if path.stem != "weights":
            assert "open" not in called(path), path.name
            assert not uses(path, "safetensors", "pathlib", "json"), path.name


def resolve(module, name):
    assert hasattr(module, name), f"{module.__name__} has no {name}"
    return getattr(module, name)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__ and module.__doc__.strip(), "no docstring"
    public = getattr(module, "__all__", None)
    listed = public or [n for n, v in vars(module).items() if getattr(v, "__module__", "") == name]
    for each in listed:
        value = resolve(module, each)
        if each.startswith("_") or not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        assert own_docstring(value), f"{each} has no docstring"
        if inspect.isclass(value) and value.__module__.startswith("maestro_lab"):
            undocumented = [m for m in methods(value) if not inspect.getdoc(getattr(value, m))]
            assert not undocumented, f"{each}: {undocumented}"


def own_docstring(value) -> bool:
    """Whether somebody wrote a docstring: dataclasses make up one of their own."""
    return bool(value.__doc__) and not value.__doc__.startswith(f"{value.__name__}(")


def methods(value) -> list[str]:
    """Public methods and properties that a class itself defines."""
    kinds = (property, staticmethod, classmethod)
    return [
        m for m, v in vars(value).items()
        if not m.startswith("_") and (inspect.isfunction(v) or isinstance(v, kinds))
    ]  # fmt: skip


def test_lazy_names_are_listed_and_wrong_ones_refused():
    for name in ("maestro_lab", "maestro_lab.bands", "maestro_lab.figures"):
        module = importlib.import_module(name)
        assert list(module.__all__) == sorted(set(module.__all__))
        with pytest.raises(AttributeError, match=f"'{name}' has no attribute 'nonsense'"):
            _ = module.nonsense
    assert set(maestro_lab.__all__) <= set(dir(maestro_lab))


def test_each_module_can_be_found_by_walking_the_package():
    walked = {m.name for m in pkgutil.walk_packages(maestro_lab.__path__, "maestro_lab.")}
    assert set(MODULES) - {"maestro_lab"} <= walked, "a folder lacks its __init__.py"


def texts() -> list[Path]:
    """All files of the repository that people write."""
    kinds = {".py", ".md", ".toml", ".yaml", ".yml", ".ipynb", ".sh", ".txt", ".cfg", ".css",
             ".json", ".html", ""}  # fmt: skip
    folders = ("maestro_lab", "tests", "notebooks", "docs", "benchmarks", ".ci")
    made = {"__pycache__", ".ipynb_checkpoints", "runs"}
    found = [p for p in REPOSITORY.iterdir() if p.is_file()]
    for folder in folders:
        for path in (REPOSITORY / folder).rglob("*"):
            inside = path.relative_to(REPOSITORY / folder).parts
            if folder == "notebooks" and made & set(inside):
                continue
            found.append(path)
    return sorted(p for p in found if p.is_file() and p.suffix in kinds
                  and not {"__pycache__", ".ipynb_checkpoints"} & set(p.parts))  # fmt: skip


def test_no_file_is_too_long():
    lengths = {str(p.relative_to(REPOSITORY)): len(p.read_text(encoding="utf-8").splitlines())
               for p in texts() if p.suffix == ".py"}  # fmt: skip
    assert not {name: n for name, n in lengths.items() if n > 400}


def test_no_file_knows_a_machine():
    roots = "|".join(("work", "tmp", "home", "root", "Users", "mnt"))
    absolute = re.compile(r"(?<![\w.*~)/])/(?:" + roots + r")(?:/|$|(?=[\"'`\s]))")
    found = [
        f"{path.relative_to(REPOSITORY)}: {line.strip()[:80]}"
        for path in texts()
        for line in path.read_text(encoding="utf-8").splitlines()
        if absolute.search(line)
    ]
    assert len(texts()) > 100
    assert not found


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["nbstripout", "--keep-id", "--verify", *map(str, REPOSITORY.glob("notebooks/**/*.ipynb"))],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_make_lint_is_clean(command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
