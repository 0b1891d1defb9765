"""Imports point one way: schemas <- stages <- pipeline, and downwards inside pipeline."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = ("schemas", "stages", "pipeline")

SHARED = (
    "stage",
    "gpu",
    "blas",
    "audio_classifier",
    "voice_activity",
    "precision",
    "replies",
    "budget",
    "connection",
    "endpoint",
    "espeak",
    "word_errors",
)
"""The modules that every stage may import."""

# Each may import those before it.
PIPELINE = (
    "telemetry",
    "background",
    "storage",
    "config",
    "models",
    "inputs",
    "ledger",
    "versions",
    "synthesis",
    "codebooks",
    "planning",
    "monitoring",
    "cluster",
    "annotate",
    "pack",
    "inference",
    "evaluation",
    "report",
    "export",
    "build",
    "kubernetes",
    "serving",
    "rating",
    "browsing",
    "training",
    "alignment",
    "ablation",
    "api",
    "commands",
    "cli",
)


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and module of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def module_of(file: Path, root: Path = ROOT) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def upward(file: Path, root: Path = ROOT) -> Iterator[str]:
    """The imports of a file that point upwards or sideways, as `file:line: why`."""
    module = module_of(file, root).split(".")
    for line, name in imports(file):
        target = name.split(".")
        if target[0] not in PACKAGES:
            continue
        where = f"{file.relative_to(root)}:{line}: {'.'.join(module[:2])} imports {'.'.join(target[:2])}"
        if PACKAGES.index(target[0]) > PACKAGES.index(module[0]):
            yield where
        elif module[0] == target[0] == "stages" and target[1:2] != module[1:2] and target[1] not in SHARED:
            yield f"{where}: no stage imports another"
        elif (
            module[0] == target[0] == "pipeline"
            and target[1] in PIPELINE
            and PIPELINE.index(target[1]) > PIPELINE.index(module[1])
        ):
            yield where


SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def test_no_import_points_upwards():
    assert [line for file in SOURCES for line in upward(file)] == []


def test_an_import_that_points_upwards_is_told_with_file_and_line(tmp_path):
    file = tmp_path / "pipeline" / "storage" / "store.py"
    file.parent.mkdir(parents=True)
    file.write_text("import os\nfrom pipeline.build.run import build\n")
    told = ["pipeline/storage/store.py:2: pipeline.storage imports pipeline.build"]
    assert list(upward(file, tmp_path)) == told


def test_every_package_of_pipeline_has_its_place():
    found = {file.stem for file in (ROOT / "pipeline").iterdir() if file.suffix == ".py" or file.is_dir()}
    assert found - {"__init__", "__pycache__", "recipes"} == set(PIPELINE)


def test_no_two_modules_import_each_other():
    modules = {module_of(file): file for file in SOURCES}
    needs: dict[str, set[str]] = {module: set() for module in modules}
    for module, file in modules.items():
        for _, name in imports(file):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target != module:
                needs[module].add(target)
    circles = [(a, b) for a in modules for b in needs[a] if a < b and a in needs[b]]
    assert circles == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_class_name_means_one_thing(package):
    homes: dict[str, list[str]] = defaultdict(list)
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert {n: p for n, p in twice.items() if any(place.startswith(package) for place in p)} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_mirror_the_folders_of_a_package(package):
    folders = {
        file.parent.relative_to(ROOT / "tests") for file in (ROOT / "tests" / package).rglob("test_*.py")
    }
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder).is_dir()] == []
