rule make_crops:
    """Cut the vertebrae of a shard's studies."""
    input:
        volumes=out("volumes/{shard}.json"),
        half=out("volumes_half/{shard}.json"),
        masks=out("masks/{shard}.json"),
    output:
        out("crops/{shard}.json"),
    log:
        out("logs/make_crops/{shard}.log"),
    benchmark:
        out("benchmarks/make_crops/{shard}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=for_a_study(1000, 3),
        runtime=grows(60),
        keep_volumes=KEEP_VOLUMES,
    params:
        config=settings("crops", "z_step", "half_size", "hu_limits", "max_study_mb", "label_geometry", "allow_symlinks"),
        code=code_of("make_crops"),
        dataset=dataset_dir,
        inputs=input_options,
    shell:
        "python -m workflow_scripts.make_crops --config {params.config:q} --code {params.code}"
        " --set keep_volumes={resources.keep_volumes} --dataset {params.dataset:q} {params.inputs}"
        " --out {output:q} > {log:q} 2>&1"


rule crops:
    """Everything up to the crops."""
    input:
        shards("crops/{shard}.json"),
