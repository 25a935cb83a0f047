import ast
import shutil
from pathlib import Path

import pytest

from spine_models.provenance import fingerprint
from spine_models.provenance.fingerprint import OUTSIDE, READ_FILES, Fingerprints

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "workflow_scripts").glob("*.py"))
FILES = {
    "workflow_scripts/stage.py": "from spine_models.a import work\nprint(work(1))\n",
    "spine_models/__init__.py": "",
    "spine_models/errors.py": "class UserError(Exception): ...\n",
    "spine_models/log.py": "import sys\ndef say(line): sys.stderr.write(line)\n",
    "spine_models/a.py": '"""A."""\nfrom spine_models import b\n\ndef work(x):\n    return b.add(x)\n',
    "spine_models/b.py": "def add(x):\n    from spine_models.deep.c import ONE\n    return x + ONE\n",
    "spine_models/deep/__init__.py": "",
    "spine_models/deep/c.py": "from . import d, says\nONE = 1 + d.ZERO\n",
    "spine_models/deep/d.py": (
        "from typing import TYPE_CHECKING\nfrom spine_models.errors import UserError\nZERO = 0\n"
        "if TYPE_CHECKING:\n    from spine_models.types_only import T\n"
    ),
    "spine_models/types_only.py": "T = int\n",
    "spine_models/deep/says.py": (
        "from spine_models.errors import UserError\nfrom spine_models.log import say\n"
        "def check(x):\n    say('checking')\n    if x < 0:\n        raise UserError('x is too small')\n"
        "    if x > 9:\n        raise StudyRefused(RefusalCode.TOO_LARGE, 'x is large')\n"
        "    other('checking')\n    raise ValueError('x')\n"
    ),
    "spine_models/named.py": "NAMED = 1\n",
    "spine_models/unrelated.py": "X = 1\n",
}


@pytest.fixture
def project(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(project, modules=()):
    return fingerprint.fingerprint(Fingerprints(project).parts("workflow_scripts/stage.py", modules))


def test_the_closure_follows_every_kind_of_import(project):
    closure = Fingerprints(project).closure("workflow_scripts/stage.py")
    modules = {"a", "b", "deep", "deep.c", "deep.d", "deep.says"}
    assert closure == {"spine_models", *(f"spine_models.{name}" for name in modules)}


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("spine_models/a.py", '"""A."""', '"""Another text."""'),
        ("spine_models/a.py", "    return b.add(x)", "    # why\n    return b.add(\n        x\n    )"),
        ("spine_models/a.py", "def work(x):\n", 'def work(x):\n    """Say what it does."""\n'),
        ("spine_models/b.py", "x + ONE", "(x  +  ONE)"),
        ("spine_models/deep/d.py", "types_only import T", "types_only import U"),
        ("spine_models/deep/d.py", "ZERO = 0\n", 'ZERO = 0\n"""Nothing."""\n'),
        ("spine_models/types_only.py", "int", "float"),
        ("spine_models/unrelated.py", "1", "2"),
        ("spine_models/errors.py", "...", "pass"),
        ("spine_models/deep/says.py", "x is too small", "x is below 0"),
        ("spine_models/deep/says.py", "('x is too small')", "(f'{x} is too small: {say}')"),
        ("spine_models/deep/says.py", "x is large", "x is above 9"),
        ("spine_models/deep/says.py", "say('checking')", "say('looking')"),
        ("spine_models/deep/says.py", "    say('checking')\n", ""),
        ("spine_models/deep/says.py", "from spine_models.log import say\n", ""),
        ("spine_models/log.py", "line)", "line + '!')"),
    ],
)
def test_what_changes_no_result_changes_no_digest(project, file, before, after):
    assert_digest(project, file, before, after, same=True)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("workflow_scripts/stage.py", "work(1)", "work(2)"),
        ("spine_models/a.py", "return b.add(x)", "return b.add(x) + 0"),
        ("spine_models/b.py", "x + ONE", "x - ONE"),
        ("spine_models/deep/c.py", "1 +", "1.0 +"),
        ("spine_models/deep/d.py", "ZERO = 0", "ZERO = False"),
        ("spine_models/deep/__init__.py", "", "import os\n"),
        ("spine_models/deep/says.py", "TOO_LARGE", "NO_CT"),
        ("spine_models/deep/says.py", "x < 0", "x < 1"),
        ("spine_models/deep/says.py", "other('checking')", "other('looking')"),
        ("spine_models/deep/says.py", "ValueError('x')", "ValueError('y')"),
        ("spine_models/deep/says.py", "raise UserError", "print"),
    ],
)
def test_changed_code_anywhere_in_the_closure_changes_the_digest(project, file, before, after):
    assert_digest(project, file, before, after, same=False)


def assert_digest(project, file, before, after, same):
    old = digest(project)
    path = project / file
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    assert (digest(project) == old) is same


def test_a_new_module_in_the_way_of_an_old_name_counts(project):
    old = digest(project)
    (project / "spine_models/b").mkdir()
    (project / "spine_models/b.py").rename(project / "spine_models/b/__init__.py")
    assert digest(project) == old, "a module that became a package holds the same code"
    (project / "spine_models/b/extra.py").write_text("Y = 1\n")
    assert digest(project) == old


def test_files_that_a_module_reads_belong_to_it(project, monkeypatch):
    monkeypatch.setattr(fingerprint, "READ_FILES", {"spine_models.a": ("deep/*.j2",)})
    template = project / "spine_models/deep/page.html.j2"
    template.write_text("<p>")
    old = digest(project)
    template.write_text("<b>")
    assert digest(project) != old


def test_a_missing_script_is_an_error(project):
    with pytest.raises(FileNotFoundError):
        Fingerprints(project).parts("workflow_scripts/none.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_closure_of_each_script_holds_what_it_imports(script):
    """Every module that the script's own process would load for it is found, as far as plain imports can tell."""
    closure = Fingerprints(ROOT).closure(f"workflow_scripts/{script}")
    tree = ast.parse((ROOT / "workflow_scripts" / script).read_text())
    direct = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in direct if name.startswith("spine_models")} - set(OUTSIDE) <= closure


def test_modules_and_files_in_the_lists_exist_and_no_file_is_forgotten():
    package = ROOT / "spine_models"
    for name in [*OUTSIDE, *READ_FILES]:
        assert (ROOT / name.replace(".", "/")).with_suffix(".py").is_file(), name
    declared = {path for patterns in READ_FILES.values() for pattern in patterns for path in package.glob(pattern)}
    others = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and path.name != "py.typed"
    }
    assert others == declared


@pytest.mark.parametrize("module", OUTSIDE)
def test_a_module_outside_of_keys_imports_such_modules_alone(module):
    packages = {".".join(module.split(".")[:length]) for length in range(1, module.count(".") + 1)}
    assert Fingerprints(ROOT).reached_by(module) <= packages
    assert all((ROOT / name.replace(".", "/") / "__init__.py").read_text() == "" for name in packages)


def test_what_parses_the_configuration_is_part_of_every_key():
    for script in SCRIPTS:
        assert "spine_models.provenance.arguments" in Fingerprints(ROOT).closure(f"workflow_scripts/{script}")


def test_a_statement_that_tells_has_no_effect_of_its_own():
    """Such statements are not part of a fingerprint, and neither are the sentences of errors."""
    for path in (ROOT / "spine_models").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("say", "UserError", "StudyRefused"):
                effects = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)
                assert not any(isinstance(inner, effects) for inner in ast.walk(node)), f"{path}:{node.lineno}"


def test_modules_that_are_imported_by_name_are_told_by_the_rule(project):
    alone, with_named = digest(project), digest(project, ["spine_models.named"])
    assert with_named != alone
    (project / "spine_models/named.py").write_text("NAMED = 2\n")
    assert digest(project, ["spine_models.named"]) != with_named
    assert digest(project) == alone


def test_no_module_is_imported_behind_the_back_of_the_fingerprint():
    for path in (ROOT / "spine_models").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
                assert "spine_models" not in ast.unparse(node), path


def test_digests_are_the_same_from_any_folder(project, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(project, moved)
    assert digest(moved) == digest(project)


def test_each_file_is_parsed_once_for_all_scripts(project, monkeypatch):
    (project / "workflow_scripts/second.py").write_text(FILES["workflow_scripts/stage.py"])
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(fingerprint.ast, "parse", lambda text, filename: parsed.append(filename) or parse(text))
    fingerprints = Fingerprints(project)
    assert fingerprints.parts("workflow_scripts/stage.py") == fingerprints.parts("workflow_scripts/second.py")
    assert len(parsed) == len(set(parsed)) == 9
