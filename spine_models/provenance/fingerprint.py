"""One digest over all the code that a script can run, so that a rule reruns when its code changes and only then.

Snakemake looks neither into the modules that a script imports nor into a script called from ``shell:``. The digest
is taken over syntax trees. What only a person reads does not count: comments, docstrings, formatting, the sentence of
an error, a line for the log. Nor do imports for type checkers, and the modules that are declared ``OUTSIDE``.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.provenance.canonical import digest_json

PACKAGE = "spine_models"

OUTSIDE: dict[str, str] = {
    "spine_models.errors": "says what the user has to mend, and ends the process",
    "spine_models.inference.settings_schema": "says which settings of a bundle are refused; the rest is left as it is",
    "spine_models.bus_errors": "says which file was cut off, and ends the process",
    "spine_models.schema_check": "says what is wrong in a value from outside; what passes is left as it is",
    "spine_models.log": "writes lines that people read",
    "spine_models.pace": "hands things on as they are, and says how many are done and how long the rest takes",
    "spine_models.command_line": "says where a script starts and how it ends; what parses --config is inside",
    "spine_models.data.dataset.patience": "waits for a disk, and says what it did not give",
    "spine_models.provenance.locks": "lets one writer in or stops; hands nothing on",
    "spine_models.models.networks": "says which module builds a network; keys hold that module by name",
    "spine_models.models.rehearsal": "reads a file once for nothing; refuses one that takes too much memory or time",
    "spine_models.models.published": "says where weights are; their names hold digests of their content",
    "spine_models.training.progress": "measures speed and memory and shows them; no result holds them",
    "spine_models.compute.leases": "chooses which of several equal GPUs a job gets, or waits",
    "spine_models.compute.nvml": "says which GPUs the machine has and how much of them is free",
    "spine_models.compute.out_of_memory": "says which key to lower where a GPU is too small, and ends the process",
}
"""Modules that can change no result, so that no model is trained anew for them, each with the reason. They import only
one another."""

_COUNTED = {"UserError": 0, "StudyRefused": 1}
"""Exceptions for people, and how many of their arguments count: a refusal's code does, its reason does not."""

_TELLS = "say"
"""The function whose calls only write to the log; what it is given must have no effect of its own."""

READ_FILES: dict[str, tuple[str, ...]] = {
    "spine_models.report.rendering": ("report/*.j2", "report/*.css", "report/*.js", "report/vendor/*"),
}
"""Files that are not Python, by the module that reads them, as patterns relative to the package's folder."""


def fingerprint(parts: Mapping[str, str]) -> str:
    """Return the one digest, 16 hexadecimal digits, over the digests of a script and its modules."""
    return digest_json(dict(parts))[:16]


@dataclass(frozen=True)
class _Source:
    """One parsed file: the digest of its tree and the dotted names that it may import from the package."""

    digest: str
    imports: tuple[str, ...]


class Fingerprints:
    """Digests of what scripts are made from; each file is read once for all of them.

    Args:
        root: folder that holds the package and, at any depth, the scripts.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sources: dict[Path, _Source] = {}
        self._paths: dict[str, Path | None] = {}

    def parts(self, script: str, modules: Iterable[str] = ()) -> dict[str, str]:
        """Return the digests of ``script``, by that word, and of each module that it reaches, by its dotted name.

        Args:
            script: path relative to the root.
            modules: dotted names of further modules that the script will import by name.

        Raises:
            FileNotFoundError: if there is no such script.
            SyntaxError: if it or a module that it imports is not Python.
        """
        own = {"script": self._source(self._root / script).digest}
        return own | {name: self._module_digest(name) for name in sorted(self.closure(script, modules))}

    def closure(self, script: str, modules: Iterable[str] = ()) -> set[str]:
        """Return the dotted names of all modules of the package that ``script`` reaches by imports of any depth."""
        return self._reached([*self._source(self._root / script).imports, *modules])

    def reached_by(self, module: str) -> set[str]:
        """Return the dotted names of all modules of the package that ``module`` imports, at any depth."""
        path = self._module_path(module)
        return set() if path is None else self._reached(self._source(path).imports)

    def _reached(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            path = self._module_path(name)
            if path is not None and name not in found and name not in OUTSIDE:
                found.add(name)
                waiting.extend(self._source(path).imports)
        return found

    def _module_digest(self, name: str) -> str:
        path = self._module_path(name)
        assert path is not None
        sha = hashlib.sha256(self._source(path).digest.encode("ascii"))
        for pattern in READ_FILES.get(name, ()):
            for file in sorted((self._root / PACKAGE).glob(pattern)):
                sha.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
        return sha.hexdigest()

    def _module_path(self, name: str) -> Path | None:
        """Return the file of the module ``name``, or None where the name is something inside a module."""
        if name not in self._paths:
            stem = self._root.joinpath(*name.split("."))
            candidates = (stem.with_suffix(".py"), stem / "__init__.py")
            self._paths[name] = next((path for path in candidates if path.is_file()), None)
        return self._paths[name]

    def _source(self, path: Path) -> _Source:
        if path not in self._sources:
            parent = path.relative_to(self._root).parts[:-1]
            reader = _TreeReader(parent)
            reader.read(ast.parse(path.read_bytes(), filename=str(path)))
            digest = hashlib.sha256("".join(reader.spelling).encode("utf-8", "surrogatepass")).hexdigest()
            self._sources[path] = _Source(digest, tuple(sorted(reader.imports)))
        return self._sources[path]


class _TreeReader:
    """Spells a syntax tree out in one pass, without positions and docstrings, and collects what it imports.

    Empty fields are left out, since newer Pythons add some.

    Args:
        parent: names of the packages that hold the file, for relative imports.
    """

    def __init__(self, parent: tuple[str, ...]) -> None:
        self._parent = parent
        self.spelling: list[str] = []
        self.imports: set[str] = set()

    def read(self, node: object) -> None:
        """Add ``node`` and all below it."""
        if isinstance(node, list):
            self.spelling.append("[")
            for item in node:
                if not (_is_bare_text(item) or _is_told(item) or self._is_outside(item)):
                    self.read(item)
            self.spelling.append("]")
        elif isinstance(node, ast.AST):
            self._read_node(node)
        else:
            self.spelling.append(repr(node))

    def _read_node(self, node: ast.AST) -> None:
        skipped = "body" if isinstance(node, ast.If) and _is_type_checking(node.test) else None
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imports.update(_imported_names(node, self._parent))
        self.spelling.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = _counted(node, name)
            if value is not None and value != [] and name != skipped:
                self.spelling.append(f"{name}=")
                self.read(value)
        self.spelling.append(")")

    def _is_outside(self, node: object) -> bool:
        """Say whether ``node`` imports from a module that is declared outside, and nothing else."""
        if not isinstance(node, ast.ImportFrom) or node.level:
            return False
        return node.module in OUTSIDE


def _is_bare_text(node: object) -> bool:
    """Say whether ``node`` is a docstring, also one that follows an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_told(node: object) -> bool:
    """Say whether ``node`` is a statement that only writes to the log."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _called(node.value) == _TELLS


def _counted(node: ast.AST, name: str) -> Any:
    """Return the field ``name`` of ``node``, of an error's arguments only those that count."""
    if isinstance(node, ast.Call) and name in ("args", "keywords") and _called(node) in _COUNTED:
        return node.args[: _COUNTED[_called(node)]] if name == "args" else []
    return getattr(node, name, None)


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def _imported_names(node: ast.Import | ast.ImportFrom, parent: tuple[str, ...]) -> Iterator[str]:
    """Yield every dotted name that the import may reach, with the packages on the way."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _with_packages(alias.name)
        return
    base = parent[: len(parent) - node.level + 1] if node.level else ()
    module = ".".join([*base, *([node.module] if node.module else [])])
    yield from _with_packages(module)
    for alias in node.names:
        yield from _with_packages(f"{module}.{alias.name}")


def _with_packages(name: str) -> Iterator[str]:
    parts = name.split(".")
    if parts[0] == PACKAGE:
        for length in range(1, len(parts) + 1):
            yield ".".join(parts[:length])
