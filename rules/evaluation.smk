rule evaluate:
    """Compute all figures from the out-of-fold predictions."""
    input:
        train_csv=train_table,
        folds=out("folds/classification.csv"),
        oof=classifiers("oof.csv"),
        segmentation=segmentation_folds("metrics.json"),
        averaging=classifiers("averaging.json"),
        quarantine=out("index/quarantine.csv"),
        grades=out("phantom/phantom.csv") if folders.generated else [],
        boxes=boxes_table,
        volumes=shards("volumes_half/{shard}.json"),
    output:
        out("evaluation/metrics.json"),
    log:
        out("logs/evaluate.log"),
    benchmark:
        out("benchmarks/evaluate.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        config=settings("seed"),
        code=code_of("evaluate"),
        seen=seen(train_table, boxes_table),
        images=dataset_file("train_images"),
        inputs=input_options,
        run=run_folder,
    shell:
        "python -m workflow_scripts.evaluate --config {params.config:q} --code {params.code}"
        " --images {params.images:q} {params.seen} {params.inputs} --output-dir {params.run:q} --out {output:q} > {log:q} 2>&1"


rule export_bundle:
    """Put all that a prediction needs into one folder."""
    input:
        segmentation=segmentation_models,
        classification=classifiers("model.safetensors"),
        train_csv=train_table,
        half=shards("volumes_half/{shard}.json"),
        metrics=rules.evaluate.output,
    output:
        out("bundle/bundle.json"),
    log:
        out("logs/export_bundle.log"),
    benchmark:
        out("benchmarks/export_bundle.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        config=bundle_settings(),
        code=code_of("export_bundle"),
        seen=seen(train_table, segmentation_models),
        inputs=input_options,
        run=run_folder,
    shell:
        "python -m workflow_scripts.export_bundle --config {params.config:q} --code {params.code}"
        " {params.seen} {params.inputs} --output-dir {params.run:q} --out {output:q} > {log:q} 2>&1"


rule export_mask_bundle:
    """Put all that masks need into one folder, for data sets without fractures."""
    input:
        segmentation=segmentation_models,
        half=shards("volumes_half/{shard}.json"),
        labels=shards("labels_half/{shard}.json"),
    output:
        out("mask_bundle/bundle.json"),
    log:
        out("logs/export_mask_bundle.log"),
    benchmark:
        out("benchmarks/export_mask_bundle.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        config=bundle_settings(),
        code=code_of("export_mask_bundle"),
        seen=seen(segmentation_models),
        inputs=input_options,
        run=run_folder,
    shell:
        "python -m workflow_scripts.export_mask_bundle --config {params.config:q} --code {params.code}"
        " {params.seen} {params.inputs} --output-dir {params.run:q} --out {output:q} > {log:q} 2>&1"


rule bundle:
    """Everything up to the bundle."""
    input:
        rules.export_bundle.output,


rule mask_bundle:
    """Everything up to a bundle that makes only masks."""
    input:
        rules.export_mask_bundle.output,
