"""Save a checkpoint of mmaction2's own Recognizer3D: run by test_pretrained.py with CONFIG WIDTH FOLDER.

A process of its own, because mmaction2 fills registries and ``sys.modules`` with what the adapter does without.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

PARTS = (
    "backbones.resnet3d_csn",
    "recognizers.recognizer3d",
    "heads.i3d_head",
    "losses.cross_entropy_loss",
    "data_preprocessors.data_preprocessor",
)


def import_recognizer(root: Path) -> None:
    for name in ("models", *(f"models.{part.split('.')[0]}" for part in PARTS)):
        package = types.ModuleType(f"mmaction.{name}")
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[f"mmaction.{name}"] = package
    for part in PARTS:
        importlib.import_module(f"mmaction.models.{part}")


def main() -> None:
    config_name, width, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    root = Path(importlib.util.find_spec("mmaction").submodule_search_locations[0])
    from mmaction.registry import MODELS

    import_recognizer(root)
    config = Config.fromfile(root / ".mim/configs/recognition/csn" / config_name)
    config.model.backbone.update(pretrained=None, base_channels=width)
    config.model.cls_head.in_channels = 32 * width
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with DefaultScope.overwrite_default_scope("mmaction"):
        network = MODELS.build(config.model)
    network.backbone.init_weights()
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm3d):
            norm.running_mean.uniform_(-0.1, 0.1)
            norm.running_var.uniform_(0.8, 1.2)
            norm.num_batches_tracked.fill_(17)
    meta = {"epoch": 58, "iter": 1000, "config": config.pretty_text, "time": "now", "CLASSES": None}
    torch.save({"meta": meta, "state_dict": network.state_dict()}, folder / "checkpoint.pth")
    # Its train() returns nothing, and so does eval().
    network.backbone.eval()
    network.backbone.out_indices = (0, 1, 2, 3)
    clip = torch.randn(1, 3, 8, 64, 64)
    with torch.no_grad():
        torch.save({"clip": clip, "features": list(network.backbone(clip))}, folder / "features.pt")


if __name__ == "__main__":
    main()
