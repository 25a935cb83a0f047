"""Plans as Snakemake prints them."""


def plan_of(*jobs):
    """Return what ``snakemake -n`` says of (rule, reason)."""
    blocks = (
        f"[Thu Nov 26 23:22:07 2026]\nrule {rule}:\n    input: a\n    output: b\n    jobid: 3\n    reason: {reason}\n"
        for rule, reason in jobs
    )
    return "\n".join(["Building DAG of jobs...", *blocks])
