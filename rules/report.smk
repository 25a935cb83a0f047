rule report:
    """Write the report of the run."""
    input:
        metrics=out("evaluation/metrics.json"),
        quarantine=out("index/quarantine.csv"),
        histories=[*segmentation_folds("history.csv"), *classifiers("history.csv")],
        half=shards("volumes_half/{shard}.json"),
        masks=shards("masks/{shard}.json"),
        oof=classifiers("oof.csv"),
        train_csv=train_table,
        bundle=out("bundle/bundle.json"),
    output:
        out("report/index.html"),
    log:
        out("logs/report.log"),
    benchmark:
        out("benchmarks/report.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        code=code_of("report"),
        seen=seen(train_table),
        inputs=input_options,
        run=run_folder,
    shell:
        "python -m workflow_scripts.report --code {params.code} {params.seen} {params.inputs}"
        " --output-dir {params.run:q} --out {output:q} > {log:q} 2>&1"
