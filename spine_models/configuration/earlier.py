"""Keys of release 0.1 that have other places or names now: a configuration of that release says what to move.

Keys of later releases are added here when they are renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TRAINING = (
    "global_batch", "micro_batch", "epochs", "draws_per_study", "window", "learning_rate", "final_learning_rate",
    "weight_decay", "gradient_clip", "precision", "activation_checkpointing", "freeze_bn", "max_skipped_steps",
    "fractured_probability", "loss", "augmentation", "validation",
)  # fmt: skip
MOVED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("segmentation", "segmentation.training", tuple(key for key in _TRAINING if key != "fractured_probability")),
    (
        "classification",
        "classification.training",
        tuple(key for key in _TRAINING if key not in ("draws_per_study", "freeze_bn", "window", "loss", "validation")),
    ),
    ("classification.network", "classification.variants.*.network", ("depth", "base_channels", "dropout")),
)
"""(Group, group today, keys that moved from one to the other under the same name)."""
RENAMED = {"classification.greedy_averaging": "classification.averaging.greedy", "identity": "plausibility"}
"""Key to its name today, each as the names of the groups that lead to it."""


def earlier_keys(config: Mapping[str, Any]) -> str | None:
    """Return a sentence that says of each key of an earlier release where it is today; None without such keys.

    Args:
        config: what was merged from config.yaml, overlays and the command line, unchecked.
    """
    said = []
    for group, today, names in MOVED:
        found = [name for name in names if name in _group(config, group)]
        if found:
            said.append(f"{group}.{found[0] if len(found) == 1 else '{' + ', '.join(found) + '}'} to {today}")
    for key, today in RENAMED.items():
        group, _, name = key.rpartition(".")
        if name in _group(config, group):
            said.append(f"{key} to {today}")
    if not said:
        return None
    return f"it has keys of release 0.1: move {'; '.join(said)} (docs/upgrade.md)"


def _group(config: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Return a group of keys, empty where there is none."""
    found: Any = config
    for name in path.split(".") if path else ():
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
