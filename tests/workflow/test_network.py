"""The workflow where there is no network: no connection but to this machine is tried."""

from benchmarks.tiny import TINY
from tests.without_network import ROOT, run_watched


def test_the_data_rules_try_no_connection(tmp_path):
    """From the phantoms to the folds; ``docs/reliability.md`` has the whole run."""
    arguments = ["-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile", TINY, "--cores", "1"]
    process, tried = run_watched([*arguments, "tiny/folds/classification.csv"], tmp_path)
    assert (tmp_path / "tiny/folds/classification.csv").is_file(), process.stderr[-3000:]
    assert tried == []
