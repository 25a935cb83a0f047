import pytest

from spine_models.commands.accept import accept
from spine_models.errors import UserError


def test_a_missing_folder_or_reason_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder: give the output_dir of a run"):
        accept(tmp_path / "nowhere")
    with pytest.raises(UserError, match="--stage without --reason: say why"):
        accept(tmp_path, stage=["make_crops"], reason=" ")
    assert list(tmp_path.iterdir()) == []
