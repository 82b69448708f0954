"""Imports point one way: flows -> synthetic, padtrace -> extraction -> templates; only flows knows Prefect."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FORBIDDEN = {
    "templates": {
        "extraction",
        "synthetic",
        "padtrace",
        "flows",
        "prefect",
        "yt_dlp",
    },  # what pads look like
    "extraction": {
        "synthetic",
        "padtrace",
        "flows",
        "prefect",
        "yt_dlp",
    },  # runs without training code
    "synthetic": {"padtrace", "flows", "prefect", "yt_dlp"},
    "padtrace": {"synthetic", "flows", "prefect", "yt_dlp"},  # a trainer reads data without what made it
    "flows": set[str](),  # may import everything
}


def imported_packages(source: str) -> set[str]:
    """Top-level names that a module imports, wherever in the module it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_only_along_the_arrows(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules, f"no modules found below {ROOT / package}"
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in modules
        if (found := imported_packages(path.read_text(encoding="utf-8")) & FORBIDDEN[package])
    }
    assert wrong == {}


def test_nothing_that_ships_imports_the_development_tools() -> None:
    """ale-py and vizdoom supply backgrounds; they may be imported inside a function, never at import time."""
    at_import_time = {
        str(path.relative_to(ROOT)): name
        for package in FORBIDDEN
        for path in (ROOT / package).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported_packages(ast.unparse(node)) & {"ale_py", "vizdoom", "pytest", "hypothesis"}
    }
    assert at_import_time == {}


def test_the_scan_sees_imports_inside_functions_and_of_submodules() -> None:
    source = "import a.b\nfrom c.d import e\ndef f():\n    import g\n    from . import h\n"
    assert imported_packages(source) == {"a", "c", "g"}
