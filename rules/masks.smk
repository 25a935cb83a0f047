rule infer_masks:
    """Predict the masks of a shard's studies, each by networks that have not learnt from it."""
    input:
        half=out("volumes_half/{shard}.json"),
        folds=out("folds/segmentation.csv"),
        models=segmentation_models,
    output:
        out("masks/{shard}.json"),
    log:
        out("logs/infer_masks/{shard}.log"),
    benchmark:
        out("benchmarks/infer_masks/{shard}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: config["math_threads"]
    resources:
        mem_mb=grows(16000),
        runtime=grows(120),
        nodes=1,
        gpu=min(config["segmentation"]["gpus"], 1),
        device=config["device"],
    params:
        config=settings("math_threads", "plausibility", inference=config["segmentation"]["inference"]),
        code=code_of("infer_masks", segmentation_modules()),
        seen=seen(segmentation_models),
        inputs=input_options,
    shell:
        "python -m workflow_scripts.infer_masks --config {params.config:q} --code {params.code}"
        " --set device={resources.device} --gpus {resources.gpu} {params.seen} {params.inputs}"
        " --out {output:q} > {log:q} 2>&1"


rule masks:
    """Everything up to the masks."""
    input:
        shards("masks/{shard}.json"),
