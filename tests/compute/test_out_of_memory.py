import pytest
import torch

from spine_models.compute.out_of_memory import memory_advice
from spine_models.errors import UserError


def test_a_lack_of_memory_becomes_a_sentence_with_the_advice():
    with pytest.raises(UserError, match=r"^out of GPU memory: lower x\.window$"), memory_advice("lower x.window"):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match=r"^other$"), memory_advice("lower x.window"):
        raise RuntimeError("other")
