"""Plans the workflow for several command lines in turn, each in a fork of one process.

That process has imported Snakemake, and what takes long of the rest.

Reads a JSON list of lists of arguments from standard input; writes a JSON list of (exit status, output) for them.
"""

import json
import os
import sys
import tempfile
from importlib import import_module

from snakemake.cli import main

SLOW = ("pandera.pandas", "jsonschema", "smart_open", "spine_models.configuration.checked")


def planned(arguments):
    """Run Snakemake with ``arguments`` in a fork; return its exit status and all that it says."""
    with tempfile.TemporaryFile("w+") as said:
        process = os.fork()
        if not process:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            sys.argv = ["snakemake", *arguments]
            try:
                main(arguments)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
        _, status = os.waitpid(process, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()


if __name__ == "__main__":
    for name in SLOW:
        import_module(name)
    json.dump([planned(arguments) for arguments in json.load(sys.stdin)], sys.stdout)
