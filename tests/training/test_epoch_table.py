import pytest

from spine_models.errors import UserError
from spine_models.evaluation.epochs import Epoch
from spine_models.provenance.canonical import digest_file
from spine_models.training.epoch_table import TABLE, read_table, write_table
from tests.vouching import published


@pytest.fixture
def folder(tmp_path):
    epochs = []
    for number, metric in ((4, 0.2), (1, 0.3)):
        path = tmp_path / f"epoch-{number:03d}.safetensors"
        path.write_text(f"weights of epoch {number}")
        epochs.append(Epoch(number, metric, path.name, digest_file(path)))
    write_table(tmp_path, epochs)
    published(tmp_path / TABLE)
    return tmp_path


def test_the_table_comes_back_best_first(folder):
    assert [(epoch.epoch, epoch.metric) for epoch in read_table(folder)] == [(4, 0.2), (1, 0.3)]


def test_a_damaged_table_or_file_is_refused(folder):
    (folder / "epoch-001.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="differs from its digest: run `snakemake --force"):
        read_table(folder)
    (folder / "epochs.json").unlink()
    with pytest.raises(UserError, match=r"epochs\.json is missing"):
        read_table(folder)
