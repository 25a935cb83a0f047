rule train_segmentation:
    """Train the segmentation network of one fold."""
    input:
        enough_label_maps,
        folds=out("folds/segmentation.csv"),
        half=shards("volumes_half/{shard}.json"),
        labels=shards("labels_half/{shard}.json"),
        pretrained=pretrained(config["segmentation"]["weights"]),
        initial=lambda wildcards: [path for path, _ in initial_networks("segmentation")],
    output:
        model=out("segmentation/fold{fold}/model.safetensors"),
        history=out("segmentation/fold{fold}/history.csv"),
        metrics=out("segmentation/fold{fold}/metrics.json"),
    log:
        out("logs/train_segmentation/{fold}.log"),
    benchmark:
        out("benchmarks/train_segmentation/{fold}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: training_threads("segmentation")
    resources:
        mem_mb=grows(48000),
        runtime=grows(720),
        nodes=1,
        gpu=config["segmentation"]["gpus"],
        device=config["device"],
        workers=config["segmentation"]["workers"],
        checkpoint_minutes=str(config["checkpoint_minutes"]),
    params:
        config=segmentation_settings,
        code=code_of("train_segmentation", modules_of([config["segmentation"]["network"]])),
        state=out("state/segmentation/fold{fold}"),
        inputs=input_options,
        folder=folder_of("model"),
    shell:
        "python -m workflow_scripts.train_segmentation --config {params.config:q} --code {params.code}"
        " --set device={resources.device} workers={resources.workers}"
        " checkpoint_minutes={resources.checkpoint_minutes} --fold {wildcards.fold} --gpus {resources.gpu}"
        " {params.inputs} --state {params.state:q} --out {params.folder:q} > {log:q} 2>&1"


rule segmentation:
    """Everything up to the segmentation networks."""
    input:
        segmentation_folds("model.safetensors"),
