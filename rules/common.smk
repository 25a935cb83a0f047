# Helpers of the rules: shell, paths, the part of the configuration that a rule uses, fingerprints, resources.
import shlex
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).resolve().parent
if (ROOT / "spine_models").is_dir():
    sys.path.insert(0, str(ROOT))

from spine_models.configuration.checked import checked
from spine_models.configuration.contradictions import require_arrays_fit
from spine_models.configuration.overlays import merge, read_overlay
from spine_models.configuration.results_folder import make_private, require_folder, require_writable
from spine_models.configuration.trainings import classifier_recipe, folds_of, published_file, segmentation_recipe
from spine_models.errors import StorageError, UserError, is_of_storage, told
from spine_models.provenance.acceptance import code_in_force, read_acceptances
from spine_models.provenance.canonical import canonical_json
from spine_models.models.networks import modules_of, modules_of_stages
from spine_models.provenance.fingerprint import Fingerprints, fingerprint
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.plan import write_plan
from spine_models.provenance.stored_code import store_code
from spine_models.configuration.unfinished import unfinished
from spine_models.configuration.user_folders import UserFolders
from spine_models.configuration.weights_source import require_source
from spine_models.configuration.workflow_files import package_root


def or_sentence(function, *arguments):
    """Call `function`; a mistake of the user's ends Snakemake with its sentence and no trace."""
    try:
        return function(*arguments)
    except UserError as error:
        sys.exit(told(error))
    except OSError as error:
        if not is_of_storage(error):
            raise
        sys.exit(told(StorageError.of(error)))


def set_up_shell():
    """Let scripts find the library from any working directory, in the Python that runs Snakemake or in conda's."""
    if ":" in str(ROOT):
        raise UserError(
            f"the checkout's path {ROOT} has a colon, which separates folders in PYTHONPATH: move it elsewhere"
        )
    # Modules in the folder that Snakemake was called from, which may hold anything, are never imported.
    exports = (
        f"PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}} NO_ALBUMENTATIONS_UPDATE=1"
    )
    deployment = workflow.deployment_settings
    if deployment is None or not deployment.deployment_method:
        exports += f' PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"'
    elif package_root() != ROOT:
        sys.exit(
            "error: an installed wheel runs its workflow in its own environment: leave --software-deployment-method "
            "out, or run the workflow of a checkout"
        )
    shell.prefix(f"set -euo pipefail; export {exports}; ".replace("{", "{{").replace("}", "}}"))


def complete(given):
    """Return the configuration with what is not given taken from config.yaml: another workflow gives only its changes."""
    for overlay in workflow.overwrite_configfiles if workflow.is_main_process else ():
        read_overlay(Path(overlay))  # Snakemake has merged it already, and does not mind a key that occurs twice
    config = read_overlay(ROOT / "config.yaml")
    merge(config, given)
    return checked(config, ROOT / "rules/config.schema.yaml")


config.update(or_sentence(complete, config))
or_sentence(require_folder, Path(config["output_dir"]), "output_dir")
or_sentence(set_up_shell)
folders = UserFolders(config, look=workflow.is_main_process)
if workflow.is_main_process:
    or_sentence(folders.look_ahead)
code_of_script = Fingerprints(package_root())
# What each fingerprint that was asked for is made from, and what a person has accepted in its place.
CODE = {}
RUN = ExitStack()
ACCEPTANCES = or_sentence(read_acceptances, Path(config["output_dir"]))

SHARDS = range(config["shards"])
SEGMENTATION_FOLDS = range(0 if config["segmentation_bundle"] else config["segmentation"]["folds"])
VARIANTS = config["classification"]["variants"]
CLASSIFIERS = [(name, fold) for name in VARIANTS for fold in range(folds_of(config, name))]
PREDICTION_SHARDS = range(config["prediction"]["shards"])
# As JSON, which is what a script reads; a resource, whose changes rerun nothing, since what is kept changes nothing of what is made.
KEEP_VOLUMES = canonical_json(config["keep"]["volumes"])


# --- Paths ------------------------------------------------------------------------------------------------------------
def out(path):
    """Return a path below output_dir."""
    return f"{config['output_dir'].rstrip('/')}/{path}"


def shards(path):
    """Return a path for every shard."""
    return [out(part) for part in expand(path, shard=SHARDS)]


def segmentation_folds(name):
    """Return the file `name` of every segmentation training; none where a bundle takes its place."""
    return [out(f"segmentation/fold{fold}/{name}") for fold in SEGMENTATION_FOLDS]


def classifiers(name):
    """Return the file `name` of every classifier."""
    return [out(f"classification/{variant}/fold{fold}/{name}") for variant, fold in CLASSIFIERS]


# --- What the user gave -----------------------------------------------------------------------------------------------
def dataset_dir(wildcards):
    """Return the data set's folder; only the jobs that need one ask for it."""
    return str(or_sentence(lambda: folders.dataset))


def dataset_file(name):
    """Return an input function for a file of the data set."""
    return lambda wildcards: f"{dataset_dir(wildcards)}/{name}"


def train_table(wildcards):
    """Return the table of fractures."""
    return str(or_sentence(lambda: folders.train_table))


def boxes_table(wildcards):
    """Return the table of fractured slices; nothing where the data set has none."""
    table = dataset_file("train_bounding_boxes.csv")(wildcards)
    return table if folders.generated or Path(table).is_file() else []


def seen(*named):
    """Return an option of every script, with the files that the user gave and the input functions `named` return.

    Each file is there with a digest of its content. Snakemake compares times, and takes a file that is older than what
    was made from it for unchanged; and a job that finds another content than the plan did must not use it.
    """

    def option(wildcards):
        contents = {}
        for files in named:
            contents |= or_sentence(folders.contents, files(wildcards))
        words = [shlex.quote(f"{digest}={path}") for path, digest in contents.items()]
        return f"--seen {' '.join(words)}" if words else ""

    return option


def listed_digest(wildcards):
    """Return the digest of the studies that train.csv lists."""
    return or_sentence(lambda: folders.listed_digest)


def generated(wildcards):
    """Return what says that the data set is generated; nothing for the user's own."""
    return [out("phantom/phantom.json")] if folders.generated else []


def images_digest(wildcards):
    """Return the digest by which a new or changed study of the shard is noticed."""
    return or_sentence(folders.images_digest, int(wildcards.shard))


def labels_digest(wildcards):
    """Return the digest by which a new or changed segmentation of the shard is noticed."""
    return or_sentence(folders.labels_digest, int(wildcards.shard))


def predict_dir(wildcards):
    """Return the folder of the studies to predict."""
    return str(or_sentence(lambda: folders.studies_to_predict))


def images_mended(wildcards):
    """Return what says that studies that could not be used as they were are others now."""
    return or_sentence(folders.images_mended, int(wildcards.shard))


def labels_mended(wildcards):
    """Return what says that label maps that could not be used as they were are others now."""
    return or_sentence(folders.labels_mended, int(wildcards.shard))


def planned_tree(wildcards):
    """Return the digest of the studies to predict, by which they are seen to change; nothing for generated ones."""
    return or_sentence(lambda: folders.predict_digest)


def bundle_file(key):
    """Return the description of the bundle that the configuration names under `key`."""
    return str(or_sentence(folders.bundle_file, key))


def prediction_bundle(wildcards):
    """Return the bundle that predicts: the user's, or the one that this workflow exports."""
    named = or_sentence(lambda: folders.prediction_bundle)
    return out("bundle/bundle.json") if named is None else str(named)


def pretrained(weights):
    """Return the published weights that a training starts from; none where it starts from scratch."""
    file = published_file(config, weights)
    return [out(f"pretrained/{file}")] if file else []


def weights_source(wildcards):
    """Return no file; the source of published weights that are not there yet is looked at before the first job."""
    file = f"{wildcards.weights}.pth"
    if workflow.is_main_process and not Path(out(f"pretrained/{file}")).is_file():
        or_sentence(require_source, file, config["pretrained"])
    return []


def enough_studies(wildcards):
    """Return no file; whether there are as many studies as folds is looked at before the first job."""
    or_sentence(folders.require_studies)
    return []


def enough_label_maps(wildcards):
    """Return no file; whether there are as many label maps as folds is looked at before the first job."""
    or_sentence(folders.require_label_maps)
    return []


def folds_table(wildcards):
    """Return the user's own folds."""
    return or_sentence(lambda: folders.folds_table)


def series_table(wildcards):
    """Return the table in which the user chooses series."""
    return or_sentence(lambda: folders.series_table)


def initial_networks(stage):
    """Return the networks of init_bundle that a training may start from, each with its digest; none without a bundle."""
    return or_sentence(folders.bundle_networks, "init_bundle", stage) if config["init_bundle"] else []


def variant_weights(wildcards):
    """Return the published weights that a variant's training starts from."""
    return pretrained(VARIANTS[wildcards.variant]["weights"])


# --- What a rule depends on -------------------------------------------------------------------------------------------
def code_of(rule_name, modules=()):
    """Return the fingerprint of a rule's script and of all that it reaches in the library, or one accepted for it.

    `modules` are those that the script will import by a name in its configuration, or a function of the wildcards.
    """
    if callable(modules):
        return lambda wildcards: code_of(rule_name, modules(wildcards))
    parts = code_of_script.parts(str(ROOT / f"workflow_scripts/{rule_name}.py"), modules)
    CODE[fingerprint(parts)] = parts
    return code_in_force(ACCEPTANCES, rule_name, fingerprint(parts))


def store_codes():
    """Store what the fingerprints of this run are made from, so that a later one can say which modules changed."""
    if workflow.is_main_process:
        for parts in CODE.values():
            store_code(Path(config["output_dir"]), parts)


def results_can_be_written():
    """Stop before the first job where output_dir may not be written, or another run writes it; make predictions private."""
    if workflow.is_main_process:
        or_sentence(require_writable, Path(config["output_dir"]), "output_dir")
        # Snakemake's own lock is one of the working directory. Held until this process ends, however it ends.
        or_sentence(RUN.enter_context, folder_lock(Path(config["output_dir"])))
        if or_sentence(lambda: folders.wants_predictions):
            make_private(Path(out("predictions")))


def tell_plan():
    """Write down how many jobs of each rule are to run, for `spine-models status`."""
    if workflow.is_main_process:
        jobs = Counter(job.rule.name for job in workflow.dag.needrun_jobs() if job.benchmark)
        or_sentence(write_plan, Path(config["output_dir"]), jobs, time.time())


def arrays_fit():
    """Refuse arrays of Slurm that would wait for ever."""
    if workflow.is_main_process:
        arrays = getattr(workflow.executor_settings, "array_jobs", None)
        or_sentence(require_arrays_fit, arrays, workflow.resource_settings.nodes, config["shards"])


def variant_modules(wildcards):
    """Return the module that builds a variant's network."""
    return modules_of([VARIANTS[wildcards.variant]["network"]])


def segmentation_modules():
    """Return the modules that build the networks that make masks; any, where a bundle says which."""
    bundle = config["segmentation_bundle"]
    return modules_of_stages("segmentation") if bundle else modules_of([config["segmentation"]["network"]])


def prediction_modules():
    """Return the modules that build the networks of the bundle that predicts; any, where it is the user's."""
    if config["bundle"]:
        return modules_of_stages("segmentation", "classification")
    return [*segmentation_modules(), *modules_of(variant["network"] for variant in VARIANTS.values())]


def settings(*keys, **more):
    """Return top-level keys of the configuration, and `more`, as canonical JSON."""
    return canonical_json({**{key: config[key] for key in keys}, **more})


def bundle_settings():
    """Return the settings that a bundle carries."""
    return settings(
        "z_step",
        "half_size",
        "hu_limits",
        "crops",
        "plausibility",
        inference=config["segmentation"]["inference"],
        crop_inference=config["classification"]["inference"],
        phantom=folders.generated,
    )


def initial_digests(stage):
    """Return the digests of the networks that a training may start from, as a setting; nothing without a bundle."""
    digests = [digest for _, digest in initial_networks(stage)]
    return {"initial": digests} if digests else {}


def segmentation_settings(wildcards):
    """Return the settings of a segmentation training."""
    recipe = segmentation_recipe(config)
    return settings("seed", "math_threads", recipe=recipe, **initial_digests("segmentation"))


def classifier_settings(wildcards):
    """Return the settings of one variant's training."""
    recipe, initial = classifier_recipe(config, wildcards.variant), initial_digests("classification")
    return settings("seed", "math_threads", "keep_best", "crops", recipe=recipe, **initial)


def averaging_settings(wildcards):
    """Return the settings of the average of one variant's best epochs."""
    average = VARIANTS[wildcards.variant]["average"]
    return settings("math_threads", "crops", average=average, **config["classification"]["averaging"])


def segmentation_models(wildcards):
    """Return the networks that make masks: of this workflow's folds, or of the user's bundle."""
    if config["segmentation_bundle"]:
        return [bundle_file("segmentation_bundle")]
    return segmentation_folds("model.safetensors")


def test_table(wildcards):
    """Return test.csv where the data set's test images are predicted and it is there."""
    return or_sentence(lambda: [str(path) for path in folders.test_table])


def input_options(wildcards, input):
    """Return a rule's named inputs as options of its script: --train-csv and the path for `train_csv`; nothing for none."""
    words = []
    for name, found in input.items():
        paths = [found] if isinstance(found, str) else found
        words += [f"--{name.replace('_', '-')}", *map(shlex.quote, paths)] if paths else []
    return " ".join(words)


def folder_of(name):
    """Return a function of a rule's outputs: the folder of the output `name`."""
    return lambda wildcards, output: str(Path(output[name]).parent)


def run_folder(wildcards, output):
    """Return the run's folder, where `accepted.json` may be: no input, as what a person accepts makes nothing anew."""
    return str(Path(output[0]).parents[1])


# --- Resources --------------------------------------------------------------------------------------------------------
def grows(amount):
    """Return a resource that a retried job gets more of."""
    return lambda wildcards, attempt: amount * attempt


def for_a_study(besides, volumes):
    """Return the memory (MB) of a job that holds `volumes` times the largest study, and `besides`."""
    return grows(besides + volumes * config["max_study_mb"])


def training_threads(stage):
    """Return the CPU cores of a training: its arithmetic and the processes that load samples."""
    return max(config["math_threads"], max(config[stage]["gpus"], 1) * config[stage]["workers"])
