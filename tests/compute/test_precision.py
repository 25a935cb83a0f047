"""One rule says in which type a network computes, in training and in prediction."""

import pytest
import torch

from spine_models.compute.precision import autocast, choose_precision, classifier_precision


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


@pytest.mark.parametrize(
    ("able", "kind", "chosen"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "cpu", "fp32"),
        ({"avx512_bf16": True}, "cpu", "bf16"),
        ({"amx_bf16": True}, "cpu", "bf16"),
        ({}, "cpu", "fp32"),
        ({"avx512_bf16": True}, "cuda", "fp16"),
    ],
)
def test_finished_classifiers_take_bf16_where_the_cpu_computes_in_it(monkeypatch, able, kind, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert classifier_precision(kind) == chosen
    assert classifier_precision(kind, "fp32") == "fp32"
    assert choose_precision("auto", "cpu") == "fp32"


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="no such precision: 'fp8'"):
        choose_precision("fp8", "cpu")


@pytest.mark.parametrize(("precision", "expected"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_computes_in_the_chosen_type(precision, expected):
    with autocast(precision, torch.device("cpu")):
        assert torch.nn.functional.linear(torch.ones(1, 2), torch.ones(1, 2)).dtype == expected
