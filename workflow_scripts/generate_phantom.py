"""Write the phantom data set; its settings are the configuration's ``phantom`` section and ``seed``."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.phantom.dataset import TABLES, generate_dataset
from spine_models.data.phantom.settings import PhantomSettings
from spine_models.provenance.arguments import stage_parser
from spine_models.provenance.keys import Key
from spine_models.provenance.settings import settings_from
from spine_models.provenance.vouched import vouch


def main() -> None:
    """Parse the arguments and generate the data set."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--threads", type=int, default=1, help="processes that write studies")
    arguments = parser.parse_args()
    section = {key: value for key, value in arguments.config["phantom"].items() if key != "enabled"}
    generate_dataset(
        arguments.out, settings_from(PhantomSettings, section), arguments.config["seed"], arguments.threads
    )
    key = Key("generate_phantom", {}, arguments.config, arguments.code)
    for table in TABLES:
        vouch(arguments.out / table, key)


if __name__ == "__main__":
    run_stage(main)
