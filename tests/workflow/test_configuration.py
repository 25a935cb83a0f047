import dataclasses
import importlib
import re
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import pytest
import yaml

from benchmarks.tiny import TINY
from spine_models.compute.crop_predictor import CropInferenceSettings
from spine_models.compute.mask_predictor import SlidingWindowSettings
from spine_models.configuration.checked import checked
from spine_models.configuration.contradictions import require_arrays_fit
from spine_models.configuration.overlays import merge
from spine_models.configuration.schema import load_schema, resolved
from spine_models.configuration.trainings import classifier_recipe, segmentation_recipe
from spine_models.data.crops.crop import CropSettings
from spine_models.data.crops.plausibility import PlausibilitySettings
from spine_models.errors import UserError
from spine_models.models.networks import KINDS
from spine_models.provenance.settings import settings_from
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.segmentation_recipe import SegmentationRecipe
from tests.bundle_files import write_description
from tests.workflow.runs import ROOT, snakemake

SCHEMA = ROOT / "rules/config.schema.yaml"
OVERLAYS = [*sorted((ROOT / "presets").glob("*.yaml")), TINY]


def full_recipe():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def keys_of_schema(schema, value, root, path=""):
    """Yield the keys of a schema as it applies to ``value``: names and kinds that a user chooses are the value's."""
    schema = resolved(schema, value, root)
    if path:
        yield path, schema
    # A word may stand for a group of keys (a preset of label_numbers): then the group's own keys are not there.
    names = schema.get("properties", {}) if isinstance(value, Mapping) else {}
    if "propertyNames" in schema:
        names = {key: {"description": "A name of the user's own.", **schema["additionalProperties"]} for key in value}
    elif names:
        assert schema["additionalProperties"] is False, path
        assert sorted(schema["required"]) == sorted(names), path
    for key, part in names.items():
        yield from keys_of_schema(part, value.get(key), root, f"{path}.{key}" if path else key)


def keys_of_yaml(node, path=""):
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        name = f"{path}.{key.value}" if path else key.value
        yield name, key.start_mark.line
        yield from keys_of_yaml(value, name)


def test_config_and_schema_hold_the_same_keys_and_each_is_described():
    schema = load_schema(SCHEMA)
    described = dict(keys_of_schema(schema, full_recipe(), schema))
    written = dict(keys_of_yaml(yaml.compose((ROOT / "config.yaml").read_text())))
    assert sorted(described) == sorted(written)
    assert [path for path, part in described.items() if not part.get("description")] == []


def test_every_key_of_the_full_recipe_has_a_comment():
    lines = (ROOT / "config.yaml").read_text().splitlines()

    def commented(number):
        return re.search(r" # \w", lines[number]) or re.fullmatch(r"\s*# (?:\w|---).*", lines[number - 1])

    written = dict(keys_of_yaml(yaml.compose("\n".join(lines))))
    assert [path for path, number in written.items() if not commented(number)] == []


def test_a_comment_names_every_choice_that_the_schema_gives():
    """Where a key is one of a few words or numbers, its comment in config.yaml lists them, and no others."""
    lines = (ROOT / "config.yaml").read_text().splitlines()
    schema = load_schema(SCHEMA)
    described = dict(keys_of_schema(schema, full_recipe(), schema))
    for path, number in keys_of_yaml(yaml.compose("\n".join(lines))):
        choices = [str(choice) for choice in described[path].get("enum", [])]
        text = lines[number]
        comment = text.split(" # ", 1)[1] if " # " in text else comment_above(lines, number)
        if choices and "as for ir" not in comment and path.rsplit(".", 1)[1:] not in (["kind"], ["weights"]):
            assert [choice for choice in choices if not re.search(rf"\b{choice}\b", comment)] == [], path


def comment_above(lines, number):
    """Return the lines of a comment that end above a line."""
    start = number
    while lines[start - 1].lstrip().startswith("# "):
        start -= 1
    return "\n".join(lines[start:number])


def test_defaults_lie_within_the_bounds_of_their_own_keys_alone():
    """The full recipe is valid, and one step outside of any bound is not."""
    schema = load_schema(SCHEMA)
    checked(full_recipe(), SCHEMA)
    tried = 0
    for path, part in keys_of_schema(schema, full_recipe(), schema):
        for bound, step in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1), ("exclusiveMaximum", 0)):
            if bound in part:
                config = full_recipe()
                *groups, key = path.split(".")
                group = reduce(dict.__getitem__, groups, config)
                group[key] = part[bound] + step
                with pytest.raises(UserError, match=re.escape(f"{path} is")):
                    checked(config, SCHEMA)
                tried += 1
    assert tried > 50


@pytest.mark.parametrize("kind", ["csn_unet", "csn"])
def test_settings_of_a_network_default_to_the_full_recipe(kind):
    config = full_recipe()
    parts = [config["segmentation"], *config["classification"]["variants"].values()]
    network_class = getattr(importlib.import_module(KINDS[kind].module), KINDS[kind].network)
    fields = dataclasses.fields(network_class.settings_type)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    for network in (part["network"] for part in parts if part["network"]["kind"] == kind):
        written = settings_from(network_class.settings_type, {k: v for k, v in network.items() if k != "kind"})
        assert {name: getattr(written, name) for name in defaults} == defaults


@pytest.mark.parametrize(
    ("settings", "section"),
    [
        (SegmentationRecipe, segmentation_recipe),
        (ClassificationRecipe, lambda config: classifier_recipe(config, "ip")),
        (CropSettings, lambda config: config["crops"]),
        (PlausibilitySettings, lambda config: config["plausibility"]),
        (SlidingWindowSettings, lambda config: config["segmentation"]["inference"]),
        (CropInferenceSettings, lambda config: config["classification"]["inference"]),
    ],
)
def test_a_section_has_the_keys_that_the_library_reads(settings, section):
    assert {field.name for field in dataclasses.fields(settings)} == set(section(full_recipe()))


def test_a_further_key_of_another_rule_reaches_no_training():
    config = full_recipe()
    before = segmentation_recipe(config), classifier_recipe(config, "ir")
    segmentation, classification = config["segmentation"], config["classification"]
    for group in (segmentation, segmentation["inference"], classification, classification["averaging"]):
        group["further"] = 1
    classification["variants"]["ir"]["further"] = 1
    assert (segmentation_recipe(config), classifier_recipe(config, "ir")) == before
    classification["training"]["further"] = 1
    assert classifier_recipe(config, "ir")["further"] == 1


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_each_preset_fits_the_schema_and_changes_what_it_names(overlay):
    config = full_recipe()
    merge(config, yaml.safe_load(overlay.read_text()))
    assert checked(config, SCHEMA) == config


def test_the_full_recipe_is_the_published_one():
    config = checked(full_recipe(), SCHEMA)
    variants = config["classification"]["variants"]
    assert config["segmentation"]["training"]["global_batch"] == 4 * 4
    assert config["classification"]["training"]["global_batch"] == 16 * 4
    assert {name: (part["network"]["depth"], part["average"]) for name, part in variants.items()} == {
        "ir": (152, 5),
        "ip": (152, 3),
    }


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("4", "shards", 4), ("true", "strict", True), ("3e-4", "checkpoint_minutes", 3e-4), (7, "output_dir", "7")],
)
def test_text_of_the_command_line_becomes_the_type_of_the_schema(text, key, value):
    config = checked({**full_recipe(), key: text}, SCHEMA)
    assert config[key] == value
    assert type(config[key]) is type(value)


def test_null_and_empty_values_of_the_command_line():
    config = full_recipe()
    config["dataset_dir"] = None
    config["classification"]["variants"]["ip"]["folds"] = "null"
    result = checked(config, SCHEMA)
    assert result["dataset_dir"] == ""
    assert result["classification"]["variants"]["ip"]["folds"] is None


MISTAKES = [
    ("sead: 1", "'sead' (value 1) is unknown; did you mean 'seed'?"),
    (
        "segmentation: {training: {epoch: 3}}",
        "'segmentation.training.epoch' (value 3) is unknown; did you mean 'epochs'?",
    ),
    ("phantom: {grades: {grave: {share: 1}}}", "'phantom.grades.grave' (value {'share': 1}) is unknown; allowed here"),
    ("seed: abc", "seed is 'abc', but must be an integer"),
    ("shards: many", "shards is 'many', but must be an integer, at least 1 and at most 100000"),
    ("z_step: 1.5", "z_step is 1.5, but must be an integer, at least 1 and at most 64"),
    (
        "segmentation: {training: {epochs: -1}}",
        "segmentation.training.epochs is -1, but must be an integer, at least 1",
    ),
    ("segmentation: {'gpus:1': ''}", "key 'segmentation.gpus:1' is unknown: write a space after the colon, gpus: 1"),
    ("label_numbers: nnunet", "label_numbers is 'nnunet', but must be one of from_c1, verse, totalsegmentator"),
    ("label_numbers: {C8: 50}", "key 'label_numbers.C8' (value 50) is unknown; allowed here are C1, C2"),
    (
        "prediction: {operating_point: best}",
        "operating_point is 'best', but must be one of sensitivity_90",
    ),
    ("dataset_dir: ~/rsna", "dataset_dir is '~/rsna', and nothing replaces the ~ here: write /"),
    ("bundle: https://host/bundle", "bundle is 'https://host/bundle', but must be a path: copy or mount the files"),
    ("seed: null", "seed is null, but must be an integer"),
    ("strict: 3", "strict is 3, but must be true or false"),
    ("device: gpu", "device is 'gpu', but must be one of auto, cuda, cpu"),
    ("output_dir: ''", "output_dir is '', but must be text that is not empty"),
    ("segmentation: 3", "segmentation is 3, but must be a group of keys; such a value is easiest to set in an overlay"),
    ("segmentation: {network: {decoder_channels: [1, 2]}}", "decoder_channels is [1, 2], but must be a list, with 5"),
    ("classification: {folds: 0}", "classification.folds is 0, but must be an integer, at"),
    ("segmentation: {folds: 1}", "segmentation.folds is 1, but must be an integer, at least 2"),
    ("crops: {depth: 7}", "crops.depth is 7, but must be an integer, at least 8"),
    ("crops: {size: 30}", "crops.size is 30, but must be an integer, at least 32"),
    ("crops: {visible_fraction: 30}", "crops.visible_fraction is 30, but must be a number, at least 0 and at most 1"),
    ("half_size: 250", "half_size is 250, but must be an integer, at least 32, at most 2048 and a multiple of 32"),
    ("hu_limits: [3071, -1024]", "hu_limits is [3071, -1024], but must hold -1000 (air"),
    (
        "segmentation: {inference: {flips: [vertical]}}",
        "segmentation.inference.flips.0 is 'vertical', but must be one of none, horizontal",
    ),
    (
        "classification: {inference: {flips: [none, none]}}",
        "classification.inference.flips is ['none', 'none'], but must be a list, not empty and each item once",
    ),
    ("hu_limits: [-1024]", "hu_limits is [-1024], but must be a list or null, with 2 items"),
    (
        "segmentation: {training: {window: 60}}",
        "training.window is 60, but must be an integer, at least 8, at most 4096 and a multiple of 8",
    ),
    ("segmentation: {training: {gradient_clip: .inf}}", "training.gradient_clip is inf, but must be a finite number"),
    ("keep_best: 9999999999", "keep_best has 10 digits, but must be at most 4294967295"),
    (
        "segmentation: {training: {micro_batch: 3}}",
        "training.global_batch is 16, but must be a multiple of micro_batch x gpus",
    ),
    (
        "classification: {gpus: 3}",
        "classification.training.global_batch is 64, but must be a multiple of micro_batch x gpus",
    ),
    ("keep_best: 4", "classification.variants.ir.average is 5, but must be at most keep_best, which is 4"),
    (
        "classification: {training: {epochs: 4}}",
        "ir.average is 5, but must be at most classification.training.epochs, whi",
    ),
    ("classification: {folds: 5}", "classification.folds is 5, but must be at most classification.fold_parts"),
    ("classification: {variants: {ip: {folds: 5}}}", "variants.ip.folds is 5, but must be at most classification.fold"),
    ("classification: {variants: {ip: {folds: 0}, ir: {folds: 0}}}", "at least one variant must be trained"),
    ("segmentation: {inference: {overlap: 384}}", "inference.overlap is 384, but must be below segmentation.inference"),
    ("segmentation: {inference: {window: 392}}", "inference.window is 392, but must be a multiple of"),
    (
        "classification: {training: {final_learning_rate: 1}}",
        "rate is 1, but must be at most classification.training.lear",
    ),
    ("segmentation: {network: {base_channels: 16}}", "base_channels is 16, but the published weights need 64"),
    ("classification: {variants: {ir: {network: {kind: unet}}}}", "ir.network.kind is 'unet', but must be one of csn"),
    (
        "classification: {variants: {ir: {network: {deph: 50}}}}",
        "ir.network.deph' (value 50) is unknown; did you mean 'd",
    ),
    ("classification: {variants: {ir: {network: {depth: 50}}}}", "depth is 50, but the published weights need 152"),
    (
        "classification: {variants: {ir: {weights: ircsn}}}",
        "ir.weights is 'ircsn', but must be one of ircsn-50, ircsn-",
    ),
    ("classification: {variants: {ir: {weights: ipcsn-152}}}", "mode is ir, but the published weights need ip"),
    ("segmentation: {weights: ipcsn-152}", "weights is ipcsn-152, but those fit no network of the kind csn_unet"),
    ("classification: {variants: {IR: {folds: 1}}}", "classification.variants holds the name 'IR', but names here are"),
    (
        "classification: {variants: {ir50: {folds: 1}}}",
        "'classification.variants.ir50.network' is missing; take it over",
    ),
    (
        "{segmentation: {gpus: 0, training: {micro_batch: 1, window: 8}}, half_size: 32}",
        "samples of 8 x 32 x 32: of one such",
    ),
    (
        "{classification: {gpus: 1, training: {micro_batch: 1}}, crops: {depth: 8, size: 32}}",
        "training.micro_batch is 1",
    ),
    ("{phantom: {enabled: true}, dataset_dir: /data}", "dataset_dir is '/data', but must be empty while phantom"),
    ("phantom: {enabled: true, segmented: 41}", "phantom.segmented is 41, but must be at most phantom.studies"),
    ("phantom: {enabled: true, segmented: 3}", "phantom.segmented is 3, but must be at least segmentation.folds"),
    ("phantom: {enabled: true, grades: {subtle: {share: 0.9}}}", "phantom.grades.*.share add up to 1.7"),
]


@pytest.mark.parametrize(("overlay", "sentence"), MISTAKES, ids=[overlay for overlay, _ in MISTAKES])
def test_a_mistake_is_one_sentence_that_names_key_and_value(overlay, sentence):
    config = full_recipe()
    merge(config, yaml.safe_load(overlay))
    with pytest.raises(UserError) as error:
        checked(config, SCHEMA)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "error: dataset_dir is not set: give the folder of your data set, it must contain train_images/"),
        (["--config", "dataset_dir=nowhere"], "error: dataset_dir nowhere is not a folder"),
        (["--config", "sead=1"], "error: configuration: key 'sead' (value 1) is unknown; did you mean 'seed'?"),
        (["predict", "--config", "predict_dir=nowhere", "bundle=b"], "has no bundle.json"),
        (["predict", "--config", "bundle=b"], "error: bundle b is not a bundle: it has no bundle.json"),
        (["masks", "--config", "segmentation_bundle=b"], "error: segmentation_bundle b is not a bundle: it has"),
    ],
    ids=["no data set", "missing data set", "misspelt key", "missing studies", "missing bundle", "segmentation bundle"],
)
@pytest.mark.parametrize("how", ["--dry-run", "--cores=1"])
def test_snakemake_stops_with_the_sentence_alone(arguments, sentence, how, tmp_path):
    process = snakemake(how, *arguments, directory=tmp_path)
    assert process.returncode == 1
    assert sentence in process.stderr
    assert "Traceback" not in process.stderr + process.stdout
    assert list(Path(tmp_path).glob("results/*")) == []


def test_prediction_with_a_bundle_needs_no_data_set(tmp_path):
    write_description(tmp_path / "bundle")
    (tmp_path / "studies/one").mkdir(parents=True)
    process = snakemake("-n", "predict", "--config", "bundle=bundle", "predict_dir=studies", directory=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "predict_studies" in process.stdout + process.stderr


def test_lint_is_clean_without_a_data_set(tmp_path):
    process = snakemake("--lint", directory=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize(
    ("arrays", "jobs", "shards"), [("convert_volumes", 8, 8), ("", 4, 8), (None, 4, 8), ("all", None, 8)]
)
def test_arrays_that_fit_or_are_not_asked_for(arrays, jobs, shards):
    require_arrays_fit(arrays, jobs, shards)


def test_an_array_that_would_wait_for_ever_is_refused():
    with pytest.raises(UserError, match="shards is 8 and jobs is 4"):
        require_arrays_fit("index_studies,convert_volumes", 4, 8)
