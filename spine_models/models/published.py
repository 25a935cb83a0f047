"""Published weights: their short names, files and addresses, and the networks that they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODEL_ZOO = "https://download.openmmlab.com/mmaction/recognition/csn"
NONE = "none"
"""In place of a name: the network starts from random weights."""


@dataclass(frozen=True)
class Published:
    """Weights of one encoder.

    Attributes:
        file: name of the checkpoint, which ends in the first digits of its SHA-256.
        folder: where it is below ``MODEL_ZOO``.
        fits: kind of network to the settings that it must have.
    """

    file: str
    folder: str
    fits: Mapping[str, Mapping[str, Any]]


PUBLISHED = {
    "ircsn-50": Published(
        "vmz_ircsn_ig65m_pretrained_r50_32x2x1_58e_kinetics400_rgb_20210617-86d33018.pth",
        "vmz",
        {
            "csn_unet": {"depth": 50, "base_channels": 64},
            "csn": {"mode": "ir", "depth": 50, "base_channels": 64},
        },
    ),
    "ircsn-152": Published(
        "ircsn_ig65m_pretrained_r152_32x2x1_58e_kinetics400_rgb_20200803-fc66ce8d.pth",
        "ircsn_ig65m_pretrained_r152_32x2x1_58e_kinetics400_rgb",
        {
            "csn_unet": {"depth": 152, "base_channels": 64},
            "csn": {"mode": "ir", "depth": 152, "base_channels": 64},
        },
    ),
    "ipcsn-152": Published(
        "vmz_ipcsn_ig65m_pretrained_r152_32x2x1_58e_kinetics400_rgb_20210617-c3be9793.pth",
        "vmz",
        {"csn": {"mode": "ip", "depth": 152, "base_channels": 64}},
    ),
}
"""Short name, as in the configuration's ``weights``, to the checkpoint (method; mmaction2's model zoo)."""
