rule train_classifier:
    """Train one variant of the classifiers on one fold."""
    input:
        folds=out("folds/classification.csv"),
        train_csv=train_table,
        crops=shards("crops/{shard}.json"),
        pretrained=variant_weights,
        initial=lambda wildcards: [path for path, _ in initial_networks("classification")],
    output:
        epochs=directory(out("classification/{variant}/fold{fold}/epochs")),
        history=out("classification/{variant}/fold{fold}/history.csv"),
    log:
        out("logs/train_classifier/{variant}-{fold}.log"),
    benchmark:
        out("benchmarks/train_classifier/{variant}-{fold}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: training_threads("classification")
    resources:
        mem_mb=grows(64000),
        runtime=grows(1440),
        nodes=1,
        gpu=config["classification"]["gpus"],
        device=config["device"],
        workers=config["classification"]["workers"],
        checkpoint_minutes=str(config["checkpoint_minutes"]),
    params:
        config=classifier_settings,
        code=code_of("train_classifier", variant_modules),
        state=out("state/classification/{variant}/fold{fold}"),
        seen=seen(train_table),
        inputs=input_options,
        folder=folder_of("history"),
    shell:
        "python -m workflow_scripts.train_classifier --config {params.config:q} --code {params.code}"
        " --set device={resources.device} workers={resources.workers}"
        " checkpoint_minutes={resources.checkpoint_minutes}"
        " --variant {wildcards.variant} --fold {wildcards.fold} --gpus {resources.gpu} {params.seen} {params.inputs}"
        " --state {params.state:q} --out {params.folder:q} > {log:q} 2>&1"


rule average_checkpoints:
    """Average the best epochs of a classifier, and judge the average."""
    input:
        epochs=out("classification/{variant}/fold{fold}/epochs"),
        folds=out("folds/classification.csv"),
        train_csv=train_table,
        crops=shards("crops/{shard}.json"),
    output:
        model=out("classification/{variant}/fold{fold}/model.safetensors"),
        averaging=out("classification/{variant}/fold{fold}/averaging.json"),
    log:
        out("logs/average_checkpoints/{variant}-{fold}.log"),
    benchmark:
        out("benchmarks/average_checkpoints/{variant}-{fold}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: config["math_threads"]
    resources:
        mem_mb=grows(16000),
        runtime=grows(120),
        nodes=1,
        gpu=min(config["classification"]["gpus"], 1),
        device=config["device"],
    params:
        config=averaging_settings,
        code=code_of("average_checkpoints", variant_modules),
        seen=seen(train_table),
        inputs=input_options,
        folder=folder_of("model"),
    shell:
        "python -m workflow_scripts.average_checkpoints --config {params.config:q} --code {params.code}"
        " --set device={resources.device} --variant {wildcards.variant} --fold {wildcards.fold} --gpus {resources.gpu}"
        " {params.seen} {params.inputs} --out {params.folder:q} > {log:q} 2>&1"


rule predict_oof:
    """Predict the studies that a classifier has not learnt from."""
    input:
        model=out("classification/{variant}/fold{fold}/model.safetensors"),
        folds=out("folds/classification.csv"),
        train_csv=train_table,
        crops=shards("crops/{shard}.json"),
    output:
        out("classification/{variant}/fold{fold}/oof.csv"),
    log:
        out("logs/predict_oof/{variant}-{fold}.log"),
    benchmark:
        out("benchmarks/predict_oof/{variant}-{fold}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: config["math_threads"]
    resources:
        mem_mb=grows(16000),
        runtime=grows(120),
        nodes=1,
        gpu=min(config["classification"]["gpus"], 1),
        device=config["device"],
    params:
        config=settings("math_threads", "crops", inference=config["classification"]["inference"]),
        code=code_of("predict_oof", variant_modules),
        seen=seen(train_table),
        inputs=input_options,
    shell:
        "python -m workflow_scripts.predict_oof --config {params.config:q} --code {params.code}"
        " --set device={resources.device} --variant {wildcards.variant} --fold {wildcards.fold} --gpus {resources.gpu}"
        " {params.seen} {params.inputs} --out {output:q} > {log:q} 2>&1"


rule classification:
    """Everything up to the classifiers and their out-of-fold predictions."""
    input:
        classifiers("model.safetensors"),
        classifiers("oof.csv"),
