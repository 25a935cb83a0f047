"""One rule says in which type a network computes, in training and in prediction."""

import pytest
import torch

from spine_models.compute.precision import autocast, choose_precision


@pytest.mark.parametrize(
    ("precision", "kind", "bf16", "chosen"),
    [
        ("auto", "cpu", True, "fp32"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "fp16"),
        ("fp32", "cuda", True, "fp32"),
        ("bf16", "cpu", False, "bf16"),
    ],
)
def test_auto_chooses_the_precision(monkeypatch, precision, kind, bf16, chosen):
    # A GPU before Ampere emulates bf16, which says nothing about what it is good for.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)
    assert choose_precision(precision, kind) == chosen


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="no such precision: 'fp8'"):
        choose_precision("fp8", "cpu")


@pytest.mark.parametrize(("precision", "expected"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_computes_in_the_chosen_type(precision, expected):
    with autocast(precision, torch.device("cpu")):
        assert torch.nn.functional.linear(torch.ones(1, 2), torch.ones(1, 2)).dtype == expected
