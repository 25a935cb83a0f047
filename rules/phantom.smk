rule generate_phantom:
    """Draw a data set of necks with a program: DICOM files, label maps and tables."""
    output:
        done=out("phantom/phantom.json"),
        grades=out("phantom/phantom.csv"),
        train=out("phantom/train.csv"),
        boxes=out("phantom/train_bounding_boxes.csv"),
        test=out("phantom/test.csv"),
    log:
        out("logs/generate_phantom.log"),
    benchmark:
        out("benchmarks/generate_phantom.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 4
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        config=settings("seed", "phantom"),
        code=code_of("generate_phantom"),
        folder=lambda wildcards, output: str(Path(output.done).parent),
    shell:
        "python -m workflow_scripts.generate_phantom --config {params.config:q} --code {params.code}"
        " --threads {threads} --out {params.folder:q} > {log:q} 2>&1"
