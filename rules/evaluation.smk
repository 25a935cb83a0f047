rule evaluate:
    input:
        train_csv=dataset_file("train.csv"),
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
        seen=seen(dataset_file("train.csv"), boxes_table),
        images=dataset_file("train_images"),
        inputs=input_options,
        run=run_folder,
    shell:
        "python -m workflow_scripts.evaluate --config {params.config:q} --code {params.code}"
        " --images {params.images:q} {params.seen} {params.inputs} --output-dir {params.run:q} --out {output:q} > {log:q} 2>&1"


rule export_bundle:
    input:
        segmentation=segmentation_models,
        classification=classifiers("model.safetensors"),
        train_csv=dataset_file("train.csv"),
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
        config=settings(
            "z_step",
            "half_size",
            "hu_limits",
            "crops",
            "plausibility",
            inference=config["segmentation"]["inference"],
            crop_inference=config["classification"]["inference"],
            phantom=folders.generated,
        ),
        code=code_of("export_bundle"),
        seen=seen(dataset_file("train.csv"), segmentation_models),
        inputs=input_options,
        run=run_folder,
    shell:
        "python -m workflow_scripts.export_bundle --config {params.config:q} --code {params.code}"
        " {params.seen} {params.inputs} --output-dir {params.run:q} --out {output:q} > {log:q} 2>&1"


rule bundle:
    input:
        rules.export_bundle.output,
