rule predict_studies:
    input:
        out("phantom/phantom.json") if folders.predicts_generated else [],
        bundle=prediction_bundle,
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
        mem_mb=grows(16000),
        runtime=grows(240),
        gpu=min(config["classification"]["gpus"], 1),
        device=config["device"],
    params:
        config=settings("math_threads", "allow_symlinks", shards=config["prediction"]["shards"]),
        code=code_of("predict_studies", prediction_modules()),
        studies=predict_dir,
        images=predict_digest,
        inputs=input_options,
    shell:
        "python -m workflow_scripts.predict_studies --config {params.config:q} --code {params.code}"
        " --set device={resources.device} --shard {wildcards.shard} --gpus {resources.gpu}"
        " --studies {params.studies:q} {params.inputs} --out {output:q} > {log:q} 2>&1"


rule predict:
    input:
        predictions=expand(out("predictions/{shard}.json"), shard=PREDICTION_SHARDS),
        bundle=prediction_bundle,
        test_csv=test_table,
    output:
        predictions=out("predictions/predictions.csv"),
        submission=out("predictions/submission.csv"),
        page=out("predictions/index.html"),
        folders=out("predictions/folders.csv"),
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
        inputs=input_options,
    shell:
        "python -m workflow_scripts.predict --code {params.code} {params.inputs}"
        " --out {output.predictions:q} --submission {output.submission:q}"
        " --index {output.page:q} > {log:q} 2>&1"
