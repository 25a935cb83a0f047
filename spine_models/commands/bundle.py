"""What a bundle holds, whether it is whole, a smaller one of some of its networks, and all of it in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spine_models.errors import UserError
from spine_models.log import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spine_models.inference.bundle_description import BundleDescription


def bundle(
    action: Annotated[Literal["info", "verify", "subset", "pack"], typer.Argument(help="What to do.")],
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle: its folder, or one file.")],
    members: Annotated[
        str, typer.Option(metavar="NAMES", help="subset: the networks, by name or variant.", show_default=False)
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="subset: folder of the new bundle; pack: a file *.zip.", show_default=False),
    ] = None,
) -> None:
    """Describe, verify, reduce or pack a bundle.

    Examples:
      spine-models bundle info demo/bundle
      spine-models bundle verify demo/bundle
      spine-models bundle subset demo/bundle --members ir --out smaller
      spine-models bundle subset demo/bundle --members ir-0,ip-0 --out two
      spine-models bundle pack demo/bundle --out demo.zip
    """
    from spine_models.inference.bundle_description import names_of, read_description

    if action == "pack":
        if members or out is None:
            raise UserError("pack needs --out, a file that ends in .zip, and no --members: make a subset first")
        show(packed(folder, out))
        return
    if action != "subset":
        if members or out:
            raise UserError(f"--members and --out belong to `spine-models bundle subset` and pack, not to {action}")
        show(described(read_description(folder)) if action == "info" else verified(folder))
        return
    if not members or out is None:
        raise UserError("a subset needs --members, such as ir or ir-0,ip-0, and --out, the folder of the new bundle")
    show(subset(folder, names_of(members), out))


def described(found: BundleDescription) -> str:
    """Return what a bundle says of itself, as lines of text."""
    from spine_models.inference.model_card import figure_lines

    data = found.training_data
    studies = data.studies if data else found.provenance.get("training_studies", "unknown")
    files = (*found.segmentation, *found.classification)
    rows = {
        "digest": found.digest,
        "learnt from": f"{studies} {'phantoms, not patients' if found.phantom else 'studies'}{_extents(found)}",
        "segmentation": ", ".join(entry.name for entry in found.segmentation),
        "classifiers": ", ".join(entry.name for entry in found.classification) or "none: it makes only masks",
        "size": f"{sum(entry.bytes for entry in files) / 1e6:.1f} MB of weights",
        "prior": " ".join(f"{target} {value:.3f}" for target, value in (found.prior or {}).items()) or "none",
        "out of fold": "; ".join(figure_lines(found.figures)) if found.figures else "no figures known",
        "operating points": _points(found),
        "settings": ", ".join(
            f"{name} {found.settings[name]}"
            for name in ("z_step", "half_size", "hu_limits", "crops")
            if name in found.settings
        ),
        "card": found.card.file if found.card else "none",
        "use": "research only: not a medical device, not for diagnosis or treatment",
    }
    return "\n".join(f"{name:18}{value}" for name, value in rows.items())


def _extents(found: BundleDescription) -> str:
    data = found.training_data
    if data is None:
        return ""
    ranges = (f"{name.removesuffix('_mm')} {data.measures[name][0]:g} to {data.measures[name][-1]:g} mm"
              for name in ("step_mm", "pixel_mm", "height_mm"))  # fmt: skip
    return f"; {', '.join(ranges)}; scanners: {', '.join(data.vendors)}"


def _points(found: BundleDescription) -> str:
    known = found.operating_points
    if known is None:
        return "none known"
    return ", ".join(
        f"{name} {' '.join(f'{scope} {point.threshold:.3f}' for scope, point in scopes.items())}"
        for name, scopes in known.points.items()
    )


def verified(folder: Path) -> str:
    """Return a sentence on a bundle that is whole.

    Raises:
        UserError: if it is not.
    """
    from spine_models.inference.bundle import load_bundle
    from spine_models.inference.bundle_networks import load_classifiers, load_segmentation

    found = load_bundle(folder)
    load_segmentation(found)
    load_classifiers(found)
    count = len(found.segmentation) + len(found.classification)
    return f"{folder} is whole: {count} networks with the checksums of bundle {found.digest}"


def subset(folder: Path, members: Sequence[str], out: Path) -> str:
    """Write a bundle with some of the networks; return a sentence on it. Operating points are not taken over.

    Args:
        folder: of the bundle.
        members: see ``Bundle.only``.
        out: folder to write.

    Raises:
        UserError: if a name fits no network, or ``out`` holds something.
    """
    from spine_models.configuration.results_folder import require_writable
    from spine_models.inference.bundle import load_bundle
    from spine_models.inference.bundle_description import DESCRIPTION
    from spine_models.inference.export_bundle import BundleContents, write_bundle

    found = load_bundle(folder)
    chosen = found.only(members)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is there already: name a new folder")
    require_writable(out, "--out")
    provenance = {**found.provenance, "subset_of": found.digest}
    names = [entry.name for entry in chosen.classification]
    contents = BundleContents(
        found.settings, found.prior, found.phantom, provenance, names, training_data=found.training_data
    )
    out.mkdir(parents=True, exist_ok=True)
    write_bundle(
        out / DESCRIPTION,
        [found.place.network(entry) for entry in chosen.segmentation],
        [found.place.network(entry) for entry in chosen.classification],
        contents,
    )
    return f"{out} holds {len(chosen.classification)} of {len(found.classification)} classifiers"


def packed(folder: Path, out: Path) -> str:
    """Write a bundle as one file; return a sentence on it.

    Args:
        folder: of the bundle.
        out: file to write.

    Raises:
        UserError: if the bundle is damaged, or ``out`` is there or does not end in .zip.
    """
    from spine_models.inference.bundle import load_bundle
    from spine_models.inference.export_bundle import pack_bundle
    from spine_models.provenance.packed import SUFFIX

    if out.suffix != SUFFIX:
        raise UserError(f"--out {out} does not end in {SUFFIX}: bundles in one file are told by that")
    if out.exists():
        raise UserError(f"--out {out} is there already: name a new file")
    if folder.is_file():
        raise UserError(f"{folder} is one file already: copy it")
    found = load_bundle(folder)
    pack_bundle(found, out)
    return f"{out} holds the bundle {found.digest}: use it wherever a bundle's folder is asked for"
