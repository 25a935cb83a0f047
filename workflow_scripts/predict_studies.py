"""Rule predict_studies: one shard of new studies."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.log import say


def main() -> None:
    """Parse the rule's arguments and predict the shard."""
    # Here, since the process that reads the studies imports this module once more, and needs no network.
    from spine_models.data.dataset.prediction_tables import PredictionIndex
    from spine_models.data.dataset.tables import read_series
    from spine_models.data.stages.index_predictions import read_studies
    from spine_models.inference.predict_studies import PredictInputs, PredictSettings, predict_studies
    from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
    from spine_models.provenance.settings import settings_from

    parser = stage_parser(__doc__ or "")
    parser.add_argument("--shard", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--root", type=Path, required=True)
    add_inputs(parser, PredictInputs)
    add_inputs(parser, PredictionIndex)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    inputs = inputs_from(PredictInputs, args)
    series = read_series(inputs.series_csv) if inputs.series_csv else {}
    settings = settings_from(PredictSettings, {**args.config, "series": series})
    studies = read_studies(inputs_from(PredictionIndex, args), args.shard)
    predict_studies(
        args.root, studies, inputs.bundle, args.out, settings, gpus=args.gpus, code=args.code, progress=_say
    )
    args.seen.require_unchanged()


def _say(number: int, total: int, sentence: str) -> None:
    say(f"{number}/{total} {sentence}")


if __name__ == "__main__":
    run_stage(main)
