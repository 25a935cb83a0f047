"""``spine-models prune-state``: only the last used state of a training stays."""

from __future__ import annotations

import os

import pytest

from spine_models.commands.app import main
from spine_models.provenance.keys import Key
from spine_models.training.state import open_state


def test_the_last_used_state_stays(tmp_path, capsys):
    root = tmp_path / "state" / "train"
    old, new = (open_state(root, Key("train", {"a": "x"}, {"epochs": 2}, code)) for code in ("1", "2"))
    os.utime(old.folder / "key.json", (1, 1))
    with pytest.raises(SystemExit) as caught:
        main(["prune-state", str(tmp_path)])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"removed {old.folder}\n1 old states removed\n"
    assert new.folder.exists()
    assert not old.folder.exists()
