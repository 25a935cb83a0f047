rule fetch_pretrained:
    """Download published weights, or take them from a folder."""
    input:
        weights_source,
    output:
        out("pretrained/{weights}.pth"),
    log:
        out("logs/fetch_pretrained/{weights}.log"),
    benchmark:
        out("benchmarks/fetch_pretrained/{weights}.tsv")
    conda:
        "../envs/spine_models.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
        # The file's name holds a digest of its content: it is the same from everywhere, so a changed source reruns nothing.
        source=config["pretrained"],
    params:
        code=code_of("fetch_pretrained"),
    shell:
        "python -m workflow_scripts.fetch_pretrained --code {params.code} --set source={resources.source:q}"
        " --name {wildcards.weights}.pth --out {output:q} > {log:q} 2>&1"
