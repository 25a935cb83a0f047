rule index_predictions:
    """Say which studies there are to predict, and which files are of them."""
    input:
        out("phantom/phantom.json") if folders.predicts_generated else [],
    output:
        files=out("predictions/index/files.csv"),
        studies=out("predictions/index/studies.csv"),
    log:
        out("logs/index_predictions.log"),
    benchmark:
        out("benchmarks/index_predictions.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        config=settings("allow_symlinks", shards=config["prediction"]["shards"]),
        code=code_of("index_predictions"),
        root=predict_dir,
        planned=planned_tree,
        again=lambda wildcards: unfinished(Path(out("predictions/index/studies.csv"))),
    shell:
        "python -m workflow_scripts.index_predictions --config {params.config:q} --code {params.code}"
        " --root {params.root:q} --planned={params.planned:q} --files {output.files:q} --studies {output.studies:q} > {log:q} 2>&1"


rule predict_studies:
    """Predict a shard's new studies."""
    input:
        bundle=prediction_bundle,
        files=rules.index_predictions.output.files,
        studies=rules.index_predictions.output.studies,
        series_csv=series_table,
    output:
        out("predictions/{shard}.json"),
    log:
        out("logs/predict_studies/{shard}.log"),
    benchmark:
        out("benchmarks/predict_studies/{shard}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: config["math_threads"]
    resources:
        mem_mb=for_a_study(13000, 3),
        runtime=grows(240),
        nodes=1,
        gpu=min(config["classification"]["gpus"], 1),
        device=config["device"],
    params:
        config=settings(
            "math_threads",
            "allow_symlinks",
            "max_study_mb",
            mask_files=config["prediction"]["mask_files"],
            members=config["prediction"]["members"],
        ),
        code=code_of("predict_studies", prediction_modules()),
        root=predict_dir,
        again=lambda wildcards: unfinished(Path(out(f"predictions/{wildcards.shard}.json"))),
        seen=seen(prediction_bundle, series_table),
        inputs=input_options,
    shell:
        "python -m workflow_scripts.predict_studies --config {params.config:q} --code {params.code}"
        " --set device={resources.device} --shard {wildcards.shard} --gpus {resources.gpu}"
        " --root {params.root:q} {params.seen} {params.inputs} --out {output:q} > {log:q} 2>&1"


rule predict:
    """Predict new studies, and write their tables and pages."""
    input:
        predictions=[out(f"predictions/{shard}.json") for shard in PREDICTION_SHARDS],
        bundle=prediction_bundle,
        files=rules.index_predictions.output.files,
        studies=rules.index_predictions.output.studies,
        test_csv=test_table,
    output:
        predictions=out("predictions/predictions.csv"),
        submission=out("predictions/submission.csv"),
        page=out("predictions/index.html"),
        study_pages=directory(out("predictions/studies")),
        inventory=out("predictions/inventory.csv"),
    log:
        out("logs/predict.log"),
    benchmark:
        out("benchmarks/predict.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        code=code_of("predict"),
        seen=seen(test_table),
        point=config["prediction"]["operating_point"],
        inputs=input_options,
    shell:
        "python -m workflow_scripts.predict --code {params.code} {params.seen} {params.inputs}"
        " --operating-point {params.point}"
        " --out {output.predictions:q} --submission {output.submission:q}"
        " --index {output.page:q} > {log:q} 2>&1"
