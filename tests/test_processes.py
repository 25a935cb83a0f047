"""A child's death is a failure of one study, and nothing else."""

from __future__ import annotations

import os
import signal

import pytest

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.errors import StudyFailedError
from spine_models.processes import ChildProcess, trace_of


def refuse() -> None:
    raise StudyRefused(RefusalCode.NO_CT, "no CT slice")


def test_the_child_answers_refuses_dies_and_answers_again() -> None:
    with ChildProcess() as child:
        first = child.call(os.getpid)
        assert first == child.call(os.getpid) != os.getpid()
        with pytest.raises(StudyRefused) as caught:
            child.call(refuse)
        assert (caught.value.code, caught.value.reason) == (RefusalCode.NO_CT, "no CT slice")
        with pytest.raises(StudyFailedError, match="died"):
            child.call(os.kill, first, signal.SIGKILL)
        assert child.call(os.getpid) != first
        with pytest.raises(FileNotFoundError) as failed:
            child.call(os.stat, "/SMITH/JOHN")
    trace = trace_of(failed.value)
    assert "FileNotFoundError at" in trace
    assert "SMITH" not in trace
