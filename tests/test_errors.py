import pytest

from spine_models.errors import UserError, run_command


def test_a_users_mistake_is_one_sentence_and_no_trace(capsys):
    def main():
        raise UserError("train.csv has no column C3: add it")

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: train.csv has no column C3: add it\n"


def test_a_defect_of_ours_keeps_its_trace():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(main)
