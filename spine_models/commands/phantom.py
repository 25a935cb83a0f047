"""Generate a phantom data set: ``spine-models phantom --out DIR --studies 8 --matrix 256``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from spine_models.data.phantom.dataset import generate_dataset
from spine_models.data.phantom.settings import GRADES, GradesSettings, PhantomSettings
from spine_models.errors import run_command
from spine_models.provenance.settings import settings_from

_HELP = {
    "studies": "training studies",
    "segmented": "training studies with a segmentation (default: 12, or all if there are fewer)",
    "test_studies": "test studies",
    "defective": "further training studies that must end in quarantine",
    "matrix": "rows and columns of a slice",
    "field_of_view_mm": "side of a slice (mm)",
    "slice_mm": "distance of the slices (mm)",
    "fractured_share": "part of the studies that have a fracture",
}


def main() -> None:
    """Parse the command line and write the data set."""
    arguments = _parser().parse_args()
    grades = {
        grade: {"share": values[0], "width_mm": values[1], "contrast_hu": values[2], "displacement_mm": values[3]}
        for grade in GRADES
        for values in [getattr(arguments, grade)]
    }
    plain = {name: getattr(arguments, name) for name in _HELP}
    if plain["segmented"] is None:
        plain["segmented"] = min(PhantomSettings.segmented, plain["studies"])
    settings = PhantomSettings(**plain, grades=settings_from(GradesSettings, grades), marker=arguments.marker)
    summary = generate_dataset(arguments.out, settings, arguments.seed, arguments.threads)
    sys.stdout.write(f"{len(summary['studies'])} studies in {arguments.out}, digest {summary['digest']}\n")


def _parser() -> argparse.ArgumentParser:
    defaults = PhantomSettings()
    parser = argparse.ArgumentParser(prog="spine-models phantom", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; new, empty or an earlier phantom")
    parser.add_argument("--seed", type=int, default=2022, help="seed of everything random (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="processes (default: %(default)s)")
    for field in fields(PhantomSettings):
        if field.name in _HELP:
            value = getattr(defaults, field.name)
            help_text = _HELP[field.name] + ("" if field.name == "segmented" else " (default: %(default)s)")
            default = None if field.name == "segmented" else value
            parser.add_argument("--" + field.name.replace("_", "-"), type=type(value), default=default, help=help_text)
    for grade in GRADES:
        known = defaults.grades.of(grade)
        parser.add_argument(
            f"--{grade}", type=float, nargs=4, metavar=("SHARE", "WIDTH_MM", "CONTRAST_HU", "DISPLACEMENT_MM"),
            default=[known.share, known.width_mm, known.contrast_hu, known.displacement_mm],
            help=f"what {grade} fractures look like (default: %(default)s)",
        )  # fmt: skip
    parser.add_argument("--no-marker", dest="marker", action="store_false", help="leave out the bead on the left")
    return parser


if __name__ == "__main__":
    run_command(main)
