import csv

import pytest

from spine_models.provenance.fingerprint import OUTSIDE
from tests.provenance.reach import RULES, TABLE, modules, table

TRAININGS = {"train_segmentation", "train_classifier"}
SEGMENTATION = {"train_segmentation", "infer_masks", "predict_studies"}
CLASSIFIERS = {"train_classifier", "average_checkpoints", "predict_oof", "predict_studies"}
DECODES = {"index_studies", "convert_volumes", "make_crops", "predict_studies"}
# Module, or a room's name with a dot after it, to the rules whose results it can change.
ONLY = {
    "data.labels.nifti": {"convert_labels"},
    "data.labels.numbering": {"convert_labels"},
    "data.labels.onto_grid": {"convert_labels"},
    # Which of a study's stacks is read depends on the header of its label map.
    "data.labels.grids": {"convert_labels", "convert_volumes", "make_crops"},
    "data.labels.header": {"convert_labels", "convert_volumes", "make_crops"},
    "data.dicom.": DECODES | {"index_predictions"},
    "models.losses": {"train_segmentation"},
    "models.unet": SEGMENTATION,
    "models.classifier": CLASSIFIERS,
    "models.averaging": {"average_checkpoints"},
    "data.samples.augmentation": TRAININGS,
    "data.samples.": TRAININGS,
    "data.crops.plausibility": {"infer_masks", "predict_studies"},
    "data.phantom.": {"generate_phantom"},
    "evaluation.scores": {"evaluate", "export_bundle", "export_mask_bundle"},
    "evaluation.dice": {"evaluate", "train_segmentation"},
    "report.": {"report", "predict"},
    "commands.": set(),
    "configuration.": set(),
    "training.fit": TRAININGS,
    "training.progress": set(),
    "command_line": set(),
    "errors": set(),
    "log": set(),
    "provenance.locks": set(),
    "compute.leases": set(),
}


@pytest.fixture(scope="module")
def rows():
    with TABLE.open(newline="") as stream:
        return {row.pop("module"): row for row in csv.DictReader(stream)}


def test_the_table_is_that_of_this_checkout():
    assert TABLE.read_text() == table(), "run `make reach` and look at the rows that changed"


def test_every_module_of_the_library_is_in_the_table(rows):
    assert list(rows) == modules()
    assert {module for module, row in rows.items() if row["outside"]} == set(OUTSIDE)
    assert not any(row[rule] for module, row in rows.items() if module in OUTSIDE for rule in RULES)


@pytest.mark.parametrize("part", ONLY)
def test_an_edit_reaches_only_the_rules_whose_results_it_can_change(rows, part):
    name = f"spine_models.{part}"
    found = [row for module, row in rows.items() if module == name or (part[-1] == "." and module.startswith(name))]
    assert found
    assert {rule for row in found for rule in RULES if row[rule]} <= ONLY[part]


def test_every_rule_reaches_what_its_script_calls(rows):
    """A table without a rule's own stage would hold no key of it."""
    own = {
        "train_segmentation": "models.losses",
        "train_classifier": "models.classifier",
        "infer_masks": "models.unet",
        "convert_volumes": "data.dicom.pixels",
        "convert_labels": "data.labels.onto_grid",
        "evaluate": "evaluation.competition",
    }
    assert all(rows[f"spine_models.{module}"][rule] for rule, module in own.items())
