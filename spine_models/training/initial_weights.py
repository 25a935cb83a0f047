"""The weights of a bundle that a training starts from: none that learnt from what the training is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spine_models.data.dataset.study_tokens import learnt_from, says_all, study_token
from spine_models.errors import UserError
from spine_models.models.checkpoint_files import differences
from spine_models.models.networks import KIND, build
from spine_models.models.weights import load_state
from spine_models.provenance.canonical import digest_file
from spine_models.training.folds import Split


@dataclass(frozen=True)
class InitialNetworks:
    """The networks of the configuration's ``init_bundle`` for one stage.

    Attributes:
        files: of the bundle, in its order.
        sha256: that the bundle names for each.
    """

    files: Sequence[Path] = ()
    sha256: Sequence[str] = ()


@dataclass(frozen=True)
class InitialWeights:
    """The weights that a training starts from.

    Attributes:
        path: the file.
        sha256: of its content.
        tokens: of the studies and patients that the weights say they learnt from.
        says_all: whether those are all of them.
    """

    path: Path
    sha256: str
    tokens: frozenset[str]
    says_all: bool


def choose_initial(
    networks: InitialNetworks, network: Mapping[str, Any], split: Split, stage: str
) -> InitialWeights | None:
    """Choose the first network that fits the architecture and did not learn from a held-out study or its patient.

    So every fold starts from the network that held it out, where the bundle comes from the same folds.

    Args:
        networks: of the bundle; none to start from something else.
        network: kind and settings of the network to train.
        split: who trains and who validates.
        stage: section of the configuration, for sentences.

    Returns:
        The weights, or None if there are no networks.

    Raises:
        UserError: if a file differs from its checksum, none fits, or all that fit know a held-out study.
    """
    if not networks.files:
        return None
    known = ""
    for weights in _fitting(networks, network, stage):
        seen = [name for name in (*split.validation, *split.validation_groups) if study_token(name) in weights.tokens]
        if not seen:
            return weights
        known = seen[0]
    raise UserError(
        f"every fitting network of the init_bundle learnt from {known}, by which this fold of the {stage} is judged: "
        "leave that study and its patient out of dataset_dir, or use another bundle"
    )


def load_initial(network: nn.Module, weights: InitialWeights) -> None:
    """Copy the chosen weights into ``network``, every tensor of it."""
    network.load_state_dict(load_state(weights.path)[0], strict=True)


def _fitting(networks: InitialNetworks, network: Mapping[str, Any], stage: str) -> list[InitialWeights]:
    """Return the intact networks with the tensors of the configured one; settings without tensors may differ."""
    with torch.device("meta"):
        expected = build(network).state_dict()
    fitting, problems = [], []
    for path, sha256 in zip(networks.files, networks.sha256, strict=True):
        if not path.is_file() or digest_file(path) != sha256:
            raise UserError(f"{path} is missing or differs from its bundle's checksum: copy the init_bundle again")
        state, description = load_state(path)
        kind, provenance = description["kind"], description["provenance"]
        other = [f"its kind is {kind}"] if kind != network[KIND] else differences(state, expected)
        if other:
            problems.append(f"{path.name}: {other[0]}")
        else:
            fitting.append(InitialWeights(path, sha256, learnt_from(provenance), says_all(provenance)))
    if not fitting:
        raise UserError(
            f"the init_bundle has no network that fits the one of the {stage} ({problems[0]}): change `network` in the "
            "configuration to the bundle's, or leave init_bundle empty"
        )
    return fitting
