"""What `make docs` shows: every module and every public function has a docstring that names what is there."""

import ast
import re
from pathlib import Path

import pytest

from tools.api_pages import module_names

ROOT = Path(__file__).parents[1]
NAMES = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.MULTILINE)


def definitions(tree):
    """Return the public functions and classes of a module, methods too, each with what its docstring may name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found.append((node, parameters(node)))
        elif isinstance(node, ast.ClassDef):
            constructors = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
            fields = {ast.unparse(item.target) for item in node.body if isinstance(item, ast.AnnAssign)}
            found.append((node, fields.union(*map(parameters, constructors))))
    return found


def parameters(function):
    arguments = function.args
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return {argument.arg for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred]}


def described(docstring):
    """Return the names that the section on arguments describes."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    names = NAMES.findall(section[1]) if section else []
    return {name.strip().lstrip("*") for line in names for name in line.split(",")}


@pytest.mark.parametrize("name", module_names())
def test_docstrings_are_there_and_name_arguments_that_are(name):
    path = ROOT / f"{name.replace('.', '/')}.py"
    if not path.exists():
        path = ROOT / name.replace(".", "/") / "__init__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree)
    for node, names in definitions(tree):
        docstring = ast.get_docstring(node) or ""
        assert docstring or node.name.startswith("_") or inner(tree, node), node.name
        assert described(docstring) <= names, node.name


def inner(tree, node):
    """Say whether a definition is inside of a function or of a private class, where nobody looks for it."""
    return any(
        node in ast.walk(other) and (isinstance(other, ast.FunctionDef) or other.name.startswith("_"))
        for other, _ in definitions(tree)
        if other is not node
    )


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("requirements-*.txt")))
def test_tools_of_the_makefile_are_pinned(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert wanted
    assert [line for line in wanted if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_the_makefile_installs_each_list_of_tools_apart_from_the_environment():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("docs", "coverage", "mutants"):
        assert f"--no-deps --upgrade --target build/{name}/tool --requirement requirements-{name}.txt" in makefile
