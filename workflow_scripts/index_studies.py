"""Rule index_studies: the folders of one shard, and what cannot be a study at all."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dataset.index import write_index
from spine_models.data.dataset.layout import require_dataset
from spine_models.data.stages.index_studies import IndexSettings, index_shard
from spine_models.provenance.arguments import stage_parser
from spine_models.provenance.keys import Key
from spine_models.provenance.settings import settings_from
from spine_models.provenance.vouched import vouch


def main() -> None:
    """Parse the rule's arguments and write the shard's index."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--shard", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    settings = settings_from(IndexSettings, args.config)
    rows = index_shard(require_dataset(args.dataset), args.shard, settings)
    write_index(args.out, rows)
    vouch(args.out, Key("index_studies", {row.study: str(row.files) for row in rows}, args.config, args.code))


if __name__ == "__main__":
    run_stage(main)
