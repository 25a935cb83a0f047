"""Which modules of the library are part of which rules' keys; ``make reach`` writes the table anew.

In a cell, ``import`` is what the rule's script reaches by imports, ``network`` what it reaches through the networks
that the configuration names (here one of each kind). A module ``outside`` is part of no key.
"""

import csv
import io
from pathlib import Path

from spine_models.models.networks import modules_of_stages
from spine_models.provenance.fingerprint import OUTSIDE, PACKAGE, Fingerprints

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("reach.csv")
RULES = sorted(path.stem for path in (ROOT / "workflow_scripts").glob("*.py") if path.stem != "__init__")
# Rule to the networks that its script builds by the names in the configuration or in a file of weights.
NETWORKS = {
    "train_segmentation": ["segmentation"],
    "infer_masks": ["segmentation"],
    "train_classifier": ["classification"],
    "average_checkpoints": ["classification"],
    "predict_oof": ["classification"],
    "predict_studies": ["segmentation", "classification"],
}


def modules():
    """Return the dotted names of all modules of the library."""
    paths = (path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / PACKAGE).rglob("*.py"))
    return sorted({".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in paths})


def reach():
    """Return rule to module to how the rule reaches it."""
    fingerprints, table = Fingerprints(ROOT), {}
    for rule in RULES:
        script = f"workflow_scripts/{rule}.py"
        own = fingerprints.closure(script)
        named = fingerprints.closure(script, modules_of_stages(*NETWORKS.get(rule, [])))
        table[rule] = {**dict.fromkeys(named, "network"), **dict.fromkeys(own, "import")}
    return table


def table():
    """Return the table as CSV."""
    reached, stream = reach(), io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["module", "outside", *RULES])
    for module in modules():
        cells = [reached[rule].get(module, "") for rule in RULES]
        writer.writerow([module, "outside" if module in OUTSIDE else "", *cells])
    return stream.getvalue()


if __name__ == "__main__":
    TABLE.write_text(table())
