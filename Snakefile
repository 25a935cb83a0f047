from snakemake.utils import min_version

min_version("9.27.0")


# The Snakefile's own folder: where another workflow imports this one, `workflow.basedir` is that one's.
configfile: f"{workflow.current_basedir.get_path_or_uri(secret_free=True)}/config.yaml"


include: "rules/common.smk"


container: config["container"] or None


onstart:
    results_can_be_written()
    store_codes()
    tell_plan()
    arrays_fit()


wildcard_constraints:
    shard=r"\d+",
    fold=r"\d+",
    variant="|".join(VARIANTS),
    weights=r"[\w-]+",


include: "rules/phantom.smk"
include: "rules/data.smk"
include: "rules/pretrained.smk"
include: "rules/segmentation.smk"
include: "rules/masks.smk"
include: "rules/crops.smk"
include: "rules/classification.smk"
include: "rules/evaluation.smk"
include: "rules/prediction.smk"
include: "rules/report.smk"


rule all:
    """Everything: the report, and predictions where there are studies to predict."""
    default_target: True
    input:
        rules.report.output,
        rules.predict.output if or_sentence(lambda: folders.wants_predictions) else [],
