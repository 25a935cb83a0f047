"""The published networks, written anew from their description alone, to write checkpoints as their training did.

Nothing here is of this pipeline: encoder, decoder and names are independent of ``spine_models``. The names inside the
decoder are a guess; what is known of them is the order of the blocks and which words the lists go by.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Unit(nn.Module):
    """Convolution without bias, batch norm."""

    def __init__(self, channels, filters, kernel, stride=1, padding=0, groups=1):
        super().__init__()
        self.conv = nn.Conv3d(channels, filters, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm3d(filters, eps=1e-3)

    def forward(self, x):
        return self.bn(self.conv(x))


class Bottleneck(nn.Module):
    def __init__(self, variant, channels, width, stride, first):
        super().__init__()
        self.conv1 = Unit(channels, width, 1)
        depthwise = Unit(width, width, 3, stride, 1, groups=width)
        self.conv2 = nn.Sequential(*([Unit(width, width, 1)] if variant == "ip" else []), depthwise)
        self.conv3 = Unit(width, 4 * width, 1)
        self.downsample = Unit(channels, 4 * width, 1, stride) if first else None

    def forward(self, x):
        y = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Encoder(nn.Module):
    def __init__(self, variant, depth, base):
        super().__init__()
        self.conv1 = Unit(3, base, (3, 7, 7), (1, 2, 2), (1, 3, 3))
        channels = base
        for number, count in enumerate(BLOCKS[depth], start=1):
            width, blocks = base * 2 ** (number - 1), []
            for i in range(count):
                stride = 2 if i == 0 and number > 1 else 1
                blocks.append(Bottleneck(variant, channels, width, stride, i == 0))
                channels = 4 * width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))

    def forward(self, x):
        features = [F.relu(self.conv1(x))]
        y = F.max_pool3d(features[0], (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            y = layer(y)
            features.append(y)
        return features


class SpatialTemporal(nn.Module):
    def __init__(self, channels, filters):
        super().__init__()
        self.spatial = nn.Conv3d(channels, filters, (1, 3, 3), padding=(0, 1, 1))
        self.temporal = nn.Conv3d(filters, filters, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x):
        return F.relu(self.temporal(F.relu(self.spatial(x))))


class Decoder(nn.Module):
    """Stages are stored shallowest first, bottlenecks deepest first."""

    def __init__(self, base, filters, last):
        super().__init__()
        skips = [base, *(4 * base * 2**i for i in range(3))]
        below = [*filters[1:], 32 * base]
        self.stages = nn.ModuleList(SpatialTemporal(i, o) for i, o in zip(below, filters, strict=True))
        pairs = list(zip(filters, skips, strict=True))
        self.bottlenecks = nn.ModuleList(SpatialTemporal(f + skip, f) for f, skip in reversed(pairs))
        self.last_upsample = nn.Conv3d(filters[0], last, 3, padding=1)

    def forward(self, features):
        y = features[-1]
        for i in range(4):
            scale = (1.0, 2.0, 2.0) if i == 3 else (2.0, 2.0, 2.0)
            y = self.stages[3 - i](F.interpolate(y, scale_factor=scale, mode="nearest"))
            y = self.bottlenecks[i](torch.cat([y, features[3 - i]], dim=1))
        return F.silu(self.last_upsample(F.interpolate(y, scale_factor=(1.0, 2.0, 2.0), mode="nearest")))


class SolutionUNet(nn.Module):
    def __init__(self, base=64, filters=(40, 64, 128, 256), last=32):
        super().__init__()
        self.backbone = Encoder("ir", 50, base)
        self.decoder = Decoder(base, filters, last)
        self.final = nn.Conv3d(last, 8, 1)

    def forward(self, x):
        return self.final(self.decoder(self.backbone(x.repeat(1, 3, 1, 1, 1))))


class SolutionClassifier(nn.Module):
    def __init__(self, variant, depth=152, base=64):
        super().__init__()
        self.backbone = Encoder(variant, depth, base)
        self.head = nn.Linear(32 * base, 8)

    def forward(self, x):
        return self.head(F.dropout(F.adaptive_max_pool3d(self.backbone(x)[-1], 1).flatten(1), 0.5, self.training))


def randomised(model, seed):
    """Give every tensor values that show where it went: weights, statistics and counts."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif name.endswith("num_batches_tracked"):
            value.fill_(1000)
        elif value.ndim > 1:
            fan = value[0].numel()
            value.copy_(torch.randn(value.shape, generator=generator) * (2 / fan) ** 0.5)
        else:
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1 + float(name.endswith("bn.weight")))
    return model.eval()


FORMS = ("training", "best", "averaged", "bare")


def save_checkpoint(path: Path, model: nn.Module, form: str) -> Path:
    """Write a checkpoint as the published training ("training", "best": with metrics) or its averaging does."""
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    if form == "averaged":
        plain = ((name.removeprefix("module."), value) for name, value in state.items())
        averaged = OrderedDict((name, value / 1 if value.ndim == 0 else value) for name, value in plain)
        content = OrderedDict([("state_dict", averaged), ("epoch", 0)])
    elif form == "bare":
        content = {name.removeprefix("module."): value for name, value in state.items()}
    else:
        metrics = {"dice": np.float64(0.9)} if form == "best" else {"loss": 0.5}
        content = {"epoch": 12, "state_dict": state, "metrics": metrics}
    torch.save(content, path)
    return path
