"""One digest over all the code that a script can run, so that a rule reruns when its code changes and only then.

Snakemake looks neither into the modules that a script imports nor into a script called from ``shell:``. The digest
is taken over syntax trees: comments, docstrings, formatting and imports for type checkers do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "spine_models"

PRESENTATIONAL = frozenset({"spine_models.errors"})
"""Modules that only say something to a person: a change in them changes no result, so it must not retrain a model."""

READ_FILES: dict[str, tuple[str, ...]] = {"spine_models.report.rendering": ("report/*.j2", "report/*.css")}
"""Files that are no Python, by the module that reads them, as patterns relative to the package's folder."""


@dataclass(frozen=True)
class _Source:
    """One parsed file: the digest of its tree and the dotted names that it may import from the package."""

    digest: str
    imports: tuple[str, ...]


class Fingerprints:
    """Digests of scripts; each file is read once for all of them.

    Args:
        root: folder that holds the package and, at any depth, the scripts.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sources: dict[Path, _Source] = {}

    def __call__(self, script: str) -> str:
        """Return the digest of ``script`` (path relative to the root) and of its closure, as 16 hexadecimal digits.

        Raises:
            FileNotFoundError: if there is no such script.
            SyntaxError: if it or a module that it imports is not Python.
        """
        path = self._root / script
        sha = hashlib.sha256(self._source(path).digest.encode("ascii"))
        for name in sorted(self.closure(script)):
            sha.update(f"{name} {self._module_digest(name)}\n".encode())
        return sha.hexdigest()[:16]

    def closure(self, script: str) -> set[str]:
        """Return the dotted names of all modules of the package that ``script`` reaches by imports of any depth."""
        found: set[str] = set()
        waiting = [self._root / script]
        while waiting:
            for name in self._source(waiting.pop()).imports:
                path = self._module_path(name)
                if path is not None and name not in found and name not in PRESENTATIONAL:
                    found.add(name)
                    waiting.append(path)
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
        stem = self._root.joinpath(*name.split("."))
        candidates = (stem.with_suffix(".py"), stem / "__init__.py")
        return next((path for path in candidates if path.is_file()), None)

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
                if not _is_bare_text(item):
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
            value = getattr(node, name, None)
            if value is not None and value != [] and name != skipped:
                self.spelling.append(f"{name}=")
                self.read(value)
        self.spelling.append(")")


def _is_bare_text(node: object) -> bool:
    """Say whether ``node`` is a docstring, also one that follows an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


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
