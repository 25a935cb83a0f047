"""Another workflow imports this one by ``module``; the snippet is that of docs/architecture.md."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from tests.workflow import warm
from tests.workflow.finished_run import SHARDS, STUDIES, make_data, overlay
from tests.workflow.runs import ROOT

pytestmark = [pytest.mark.slow]


def test_the_data_rules_run_inside_of_another_workflow(tmp_path):
    make_data(tmp_path / "data")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"spine": overlay()}))
    snippet = re.search(r"```python\n(configfile.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)[1]
    (tmp_path / "Snakefile").write_text(snippet.replace("/path/of/the/checkout", str(ROOT)))

    def snakemake(environment, *arguments):
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)

    with warm.environment(tmp_path) as more:
        environment = {**os.environ, **more}
        process = snakemake(environment)
        assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
        assert (tmp_path / "studies.txt").read_text().split() == [f"{shard}.json" for shard in range(SHARDS)]
        found = {path.stem for path in (tmp_path / "results/volumes").glob("*/*.npy")}
        assert found == set(STUDIES)
        assert "Nothing to be done" in snakemake(environment).stderr
