"""Puts the workflow into the wheel, as the folder ``spine_models/workflow``; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
WORKFLOW = ("Snakefile", "config.yaml", "rules", "workflow_scripts", "presets", "profiles", "envs")


class BuildWithWorkflow(build_py):
    """Builds the package with a copy of the workflow's files; an editable install uses the checkout's own."""

    def run(self) -> None:
        """Build the package, then copy the workflow into it."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "spine_models" / "workflow"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in WORKFLOW:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, target / name)


setup(cmdclass={"build_py": BuildWithWorkflow})
