rule index_studies:
    """List the studies of a shard, and what cannot be a study at all."""
    input:
        generated,
    output:
        out("index/{shard}.csv"),
    log:
        out("logs/index_studies/{shard}.log"),
    benchmark:
        out("benchmarks/index_studies/{shard}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        config=settings("shards", "allow_symlinks"),
        code=code_of("index_studies"),
        dataset=dataset_dir,
        images=images_digest,
    shell:
        "python -m workflow_scripts.index_studies --config {params.config:q} --code {params.code}"
        " --dataset {params.dataset:q} --shard {wildcards.shard} --out {output:q} > {log:q} 2>&1"


rule convert_volumes:
    """Convert a shard's studies to volumes of Hounsfield units, of full and of half size."""
    input:
        index=out("index/{shard}.csv"),
    output:
        volumes=out("volumes/{shard}.json"),
        half=out("volumes_half/{shard}.json"),
    log:
        out("logs/convert_volumes/{shard}.log"),
    benchmark:
        out("benchmarks/convert_volumes/{shard}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=for_a_study(1000, 3),
        runtime=grows(120),
        keep_volumes=KEEP_VOLUMES,
    params:
        config=settings("z_step", "half_size", "hu_limits", "max_study_mb", "label_geometry", "allow_symlinks"),
        code=code_of("convert_volumes"),
        dataset=dataset_dir,
        labels=labels_digest,
        again=images_mended,
        inputs=input_options,
    shell:
        "python -m workflow_scripts.convert_volumes --config {params.config:q} --code {params.code}"
        " --set keep_volumes={resources.keep_volumes} --dataset {params.dataset:q} {params.inputs}"
        " --again={params.again:q}"
        " --volumes {output.volumes:q} --half {output.half:q} > {log:q} 2>&1"


rule convert_labels:
    """Bring a shard's label maps onto the grid of the half-size volumes."""
    input:
        half=out("volumes_half/{shard}.json"),
    output:
        out("labels_half/{shard}.json"),
    log:
        out("logs/convert_labels/{shard}.log"),
    benchmark:
        out("benchmarks/convert_labels/{shard}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(3000),
        runtime=grows(30),
    params:
        config=settings("label_geometry", "label_numbers", "allow_symlinks"),
        code=code_of("convert_labels"),
        dataset=dataset_dir,
        labels=labels_digest,
        again=labels_mended,
        inputs=input_options,
    shell:
        "python -m workflow_scripts.convert_labels --config {params.config:q} --code {params.code}"
        " --dataset {params.dataset:q} {params.inputs} --again={params.again:q} --out {output:q} > {log:q} 2>&1"


rule collect_quarantine:
    """Name every study that cannot be used, and why."""
    input:
        index=shards("index/{shard}.csv"),
        half=shards("volumes_half/{shard}.json"),
        labels=shards("labels_half/{shard}.json"),
    output:
        out("index/quarantine.csv"),
    log:
        out("logs/collect_quarantine.log"),
    benchmark:
        out("benchmarks/collect_quarantine.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    params:
        config=settings("strict"),
        code=code_of("collect_quarantine"),
        dataset=dataset_dir,
        listed=listed_digest,
        inputs=input_options,
    shell:
        "python -m workflow_scripts.collect_quarantine --config {params.config:q} --code {params.code}"
        " --dataset {params.dataset:q} --listed={params.listed:q} {params.inputs} --out {output:q} > {log:q} 2>&1"


rule make_folds:
    """Say which study belongs to which fold."""
    input:
        # Orders the jobs: `strict` stops the run before anything is split. The manifests say which studies are left.
        out("index/quarantine.csv"),
        enough_studies,
        folds_table,
        half=shards("volumes_half/{shard}.json"),
        labels=shards("labels_half/{shard}.json"),
    output:
        segmentation=out("folds/segmentation.csv"),
        classification=out("folds/classification.csv"),
    log:
        out("logs/make_folds.log"),
    benchmark:
        out("benchmarks/make_folds.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    params:
        config=settings(
            "seed",
            "folds_csv",
            segmentation_folds=len(SEGMENTATION_FOLDS),
            classification_parts=config["classification"]["fold_parts"],
        ),
        code=code_of("make_folds"),
        dataset=dataset_dir,
        state=out("state/folds"),
        seen=seen(folds_table),
        listed=listed_digest,
        inputs=input_options,
    shell:
        "python -m workflow_scripts.make_folds --config {params.config:q} --code {params.code}"
        " --dataset {params.dataset:q} --listed={params.listed:q} {params.seen} {params.inputs} --state {params.state:q}"
        " --segmentation {output.segmentation:q} --classification {output.classification:q} > {log:q} 2>&1"


rule convert:
    """Everything up to volumes, labels and folds."""
    input:
        rules.collect_quarantine.output,
        rules.make_folds.output,
        shards("volumes/{shard}.json"),
