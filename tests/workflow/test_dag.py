"""What the workflow plans: job counts, target rules, and the directives of every rule."""

import re

import pytest

from benchmarks.data_sets import write_empty_studies
from tests.bundle_files import write_description
from tests.data.dicom_builder import write_stack
from tests.workflow.runs import ROOT, planned, snakemake

SHARDS, FOLDS, PREDICTION_SHARDS = 64, 4, 4
WEIGHTS_OF_NETWORKS = 3
JOBS = {
    **dict.fromkeys(["index_studies", "convert_volumes", "convert_labels", "infer_masks", "make_crops"], SHARDS),
    **dict.fromkeys(["collect_quarantine", "make_folds", "evaluate", "export_bundle", "report", "all"], 1),
    "train_segmentation": FOLDS,
    **dict.fromkeys(["train_classifier", "average_checkpoints", "predict_oof"], 2 * FOLDS),
}
TARGETS = ["convert", "segmentation", "masks", "crops", "classification", "evaluate", "predict", "report"]
DIRECTIVES = ["input", "output", "log", "benchmark", "threads", "resources", "params", "conda", "shell"]
# They start from a configuration alone: the phantoms, and weights that are fetched.
WITHOUT_INPUT = {"generate_phantom", "fetch_pretrained"}


def rules():
    """Return rule to its directives, each with its text, from the text of rules/*.smk."""
    found = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", path.read_text(), flags=re.MULTILINE):
            parts = re.split(r"^    (\w+):", body, flags=re.MULTILINE)
            found[name] = dict(zip(parts[1::2], parts[2::2], strict=True))
    return found


RULES = rules()
WITH_SCRIPT = {name: parts for name, parts in RULES.items() if "shell" in parts}


@pytest.fixture(scope="module")
def many_studies(tmp_path_factory):
    return write_empty_studies(tmp_path_factory.mktemp("many"), 2019)


@pytest.fixture(scope="module")
def few_studies(tmp_path_factory):
    return write_empty_studies(tmp_path_factory.mktemp("few"), 10)


def plan(dataset, tmp_path, *config, targets=()):
    return planned(snakemake("-n", *targets, "--config", f"dataset_dir={dataset}", *config, directory=tmp_path))


@pytest.mark.parametrize(
    ("pretrained", "fetched"), [("none", {}), ("model_zoo", {"fetch_pretrained": WEIGHTS_OF_NETWORKS})]
)
@pytest.mark.parametrize("studies", ["few_studies", "many_studies"])
def test_the_number_of_jobs_follows_from_the_configuration_alone(studies, pretrained, fetched, tmp_path, request):
    dataset = request.getfixturevalue(studies)
    assert plan(dataset, tmp_path, f"pretrained={pretrained}") == {**JOBS, **fetched}


def test_test_images_add_the_prediction(tmp_path):
    dataset = write_empty_studies(tmp_path / "data", 4)
    (dataset / "test_images/one").mkdir(parents=True)
    expected = {**JOBS, "index_predictions": 1, "predict_studies": PREDICTION_SHARDS, "predict": 1}
    assert plan(dataset, tmp_path, "pretrained=none") == expected


def test_changed_numbers_of_shards_and_folds_change_the_jobs(few_studies, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("{shards: 3, segmentation: {folds: 2}, classification: {variants: {ip: {folds: 1}}}}")
    common = ["--configfile", overlay, "--config", f"dataset_dir={few_studies}", "pretrained=none"]
    jobs = planned(snakemake("-n", *common, directory=tmp_path))
    assert (jobs["index_studies"], jobs["make_crops"]) == (3, 3)
    assert (jobs["train_segmentation"], jobs["train_classifier"]) == (2, FOLDS + 1)


def test_a_further_variant_of_the_configuration_is_trained_from_its_own_weights(few_studies, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        "classification: {variants: {ir-50: {network: {kind: csn, mode: ir, depth: 50, base_channels: 64, dropout: 0},"
        " weights: ircsn-50, folds: 1, draws_per_study: 8, freeze_bn: false, average: 5}, ip: {folds: 0}}}"
    )
    common = ["--configfile", overlay, "--config", f"dataset_dir={few_studies}"]
    jobs = planned(snakemake("-n", *common, directory=tmp_path))
    assert {jobs[rule] for rule in ("train_classifier", "average_checkpoints", "predict_oof")} == {FOLDS + 1}
    # Those of the segmentation, which it shares, and those of ir; none of ip is trained.
    assert jobs["fetch_pretrained"] == 2


def test_every_target_rule_exists_and_plans(tmp_path):
    assert [name for name in TARGETS if name not in RULES] == []
    dataset = write_empty_studies(tmp_path / "data", 4)
    (dataset / "test_images").mkdir()
    jobs = plan(dataset, tmp_path, "pretrained=none", targets=TARGETS)
    assert [name for name in TARGETS if jobs.get(name) != 1] == []


def test_test_images_on_a_disk_that_is_not_mounted_are_not_left_out(tmp_path):
    dataset = write_empty_studies(tmp_path / "set", 4)
    (dataset / "test_images").symlink_to(tmp_path / "unmounted", target_is_directory=True)
    process = snakemake("-n", "--config", f"dataset_dir={dataset}", directory=tmp_path)
    assert process.returncode == 1
    assert "error: there is no folder" in process.stdout + process.stderr


def test_prediction_with_a_bundle_plans_nothing_of_the_training(tmp_path):
    write_description(tmp_path / "bundle")
    (tmp_path / "studies/one").mkdir(parents=True)
    process = snakemake("-n", "predict", "--config", "predict_dir=studies", "bundle=bundle", directory=tmp_path)
    assert planned(process) == {"index_predictions": 1, "predict_studies": PREDICTION_SHARDS, "predict": 1}


def test_without_a_data_set_one_sentence_says_so(tmp_path):
    process = snakemake("-n", directory=tmp_path)
    said = process.stdout + process.stderr
    assert process.returncode == 1
    assert [line for line in said.splitlines() if line.startswith("error: dataset_dir is not set")]
    assert "Traceback" not in said


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_in_a_sentence_what_it_does(name):
    text = "\n".join(path.read_text() for path in [*sorted((ROOT / "rules").glob("*.smk")), ROOT / "Snakefile"])
    assert re.search(rf'^rule {name}:\n    """[A-Z].*\."""\n', text, re.MULTILINE)


@pytest.mark.parametrize("name", WITH_SCRIPT)
def test_a_rule_with_a_script_has_every_directive(name):
    parts = WITH_SCRIPT[name]
    needed = [part for part in DIRECTIVES if part != "input" or name not in WITHOUT_INPUT]
    assert [part for part in needed if part not in parts] == []
    assert f'code=code_of("{name}"' in parts["params"]
    assert (ROOT / f"workflow_scripts/{name}.py").is_file()
    assert f"python -m workflow_scripts.{name} " in parts["shell"]
    assert "{log:q}" in parts["shell"]
    assert (ROOT / "rules" / parts["conda"].strip().strip('"')).resolve().is_file()


def test_every_script_belongs_to_a_rule():
    scripts = {path.stem for path in (ROOT / "workflow_scripts").glob("*.py") if path.stem != "__init__"}
    assert scripts == set(WITH_SCRIPT)


def test_an_index_that_names_a_failed_study_is_made_again_by_the_next_run(tmp_path):
    """The fault is the disk's: nothing that the workflow knows the tree by tells that it has passed."""
    write_description(tmp_path / "bundle")
    write_stack(tmp_path / "studies/one")
    config = ("--config", "predict_dir=studies", "bundle=bundle", "prediction={shards: 1}")
    index = "results/predictions/index/studies.csv"
    made = snakemake("--cores", "1", *config, "--", index, directory=tmp_path)
    assert made.returncode == 0, made.stderr
    assert planned(snakemake("-n", *config, "--", index, directory=tmp_path)) == {}
    (tmp_path / "studies/one/lost").symlink_to(tmp_path / "studies/unmounted")
    for _ in range(2):
        snakemake("--cores", "1", *config, "--", index, directory=tmp_path)
        assert ",failed," in (tmp_path / index).read_text()
        assert planned(snakemake("-n", *config, "--", index, directory=tmp_path))["index_predictions"] == 1
