"""In which floating-point type networks compute: one rule for training and prediction."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
_AUTOCAST_TYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(wanted: str, kind: str) -> Precision:
    """Return what the configuration's ``precision`` means on a kind of device.

    ``auto`` is bf16 where the GPU computes in it, fp16 on older GPUs, which only emulate bf16 and slowly, and fp32 on
    the CPU, where autocast gains nothing for these networks (``classifier_precision`` has what does).

    Args:
        wanted: "auto", "fp32", "tf32" (float32 whose products may be rounded to 10 bits on a GPU), "bf16" or "fp16".
        kind: "cuda" or "cpu".

    Raises:
        ValueError: if ``wanted`` is not one of these.
    """
    if wanted == "auto":
        if kind == "cpu":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wanted in ("fp32", "tf32", "bf16", "fp16"):
        return wanted  # type: ignore[return-value]
    raise ValueError(f"no such precision: {wanted!r}")


def classifier_precision(kind: str, wanted: str = "auto") -> Precision:
    """Return in which type finished classifiers predict; ``auto`` is bf16 on CPUs that compute in it, too.

    Their probabilities stay within 0.01 of float32's. Trainings, with their validations and averages, do not ask here.

    Args:
        kind: "cuda" or "cpu".
        wanted: see ``choose_precision``.
    """
    return "bf16" if wanted == "auto" and kind == "cpu" and cpu_computes_in_bf16() else choose_precision(wanted, kind)


def cpu_computes_in_bf16() -> bool:
    """Say whether this CPU multiplies bf16 by itself (AVX-512 or AMX); others take longer for it than for float32."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def autocast_type(precision: Precision) -> torch.dtype | None:
    """Return the type that autocast brings convolutions to; None for fp32 and tf32, which need no autocast."""
    return _AUTOCAST_TYPES.get(precision)


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes with ``precision`` on ``device``."""
    half = autocast_type(precision)
    return torch.autocast(device.type, half, enabled=half is not None)


def allow_tf32(precision: Precision) -> None:
    """Let this process round the factors of float32 products to 10 bits on a GPU if ``precision`` is tf32."""
    allowed = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
