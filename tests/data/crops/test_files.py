import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tiny_data import volume_facts
from spine_models.data.crops.crop import CropSettings, spine_crop
from spine_models.data.crops.files import open_crop
from spine_models.data.dicom.study import VolumeSettings
from spine_models.data.stages.full_volumes import FullVolumes
from spine_models.data.stages.make_crops import CropInputs, make_crops
from spine_models.errors import StudyFailedError, UserError
from spine_models.provenance.canonical import canonical_json
from spine_models.provenance.shelf import Shelf
from tests.data.sample_files import CROPS, mask_facts, spine_mask, write_stage

MASKS = {"1.2.1": spine_mask(), "1.2.2": spine_mask(levels=("C3", "C5")), "1.2.3": spine_mask(levels=())}


class Stages:
    """The inputs of the rule in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "crops" / "0.json"
        random = np.random.default_rng(0)
        self.full = {study: random.integers(-1000, 1500, (60, 64, 64)).astype(np.int16) for study in MASKS}
        facts = {study: volume_facts() for study in MASKS}
        self.paths = {
            "volumes": write_stage(folder, "volumes", self.full, facts),
            "half": write_stage(folder, "volumes_half", {s: f[:, ::2, ::2] for s, f in self.full.items()}, facts),
        }
        self.write_masks(MASKS)

    def write_masks(self, masks: dict[str, np.ndarray]) -> None:
        facts = {study: mask_facts(mask) for study, mask in masks.items()}
        self.paths["masks"] = write_stage(self.folder, "masks", masks, facts)

    def make(self, **config: object) -> list[str]:
        inputs = CropInputs(dataset=self.folder / "set", **self.paths)
        return make_crops(inputs, VolumeSettings(), CropSettings(**CROPS | config), code="code", out=self.out)

    def times(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.out.with_suffix("").glob("1.*")}


@pytest.fixture
def stages(tmp_path) -> Stages:
    return Stages(tmp_path)


def test_stored_crops_come_back_as_they_were_cut(stages):
    assert stages.make() == ["1.2.3"]
    crops = Shelf([stages.out])
    assert crops.studies == sorted(MASKS)
    for study in ("1.2.1", "1.2.2"):
        stored = open_crop(crops, study)
        cut = spine_crop(
            stages.full[study], MASKS[study], volume_facts(), mask_facts(MASKS[study]), CropSettings(**CROPS)
        )
        assert isinstance(stored.image, np.memmap)
        for name, value in vars(cut).items():
            if name in ("image", "mask"):
                np.testing.assert_array_equal(getattr(stored, name), value)
            else:
                assert getattr(stored, name) == value


def test_a_study_without_a_vertebra_gets_a_record_without_an_array(stages):
    stages.make()
    assert open_crop(Shelf([stages.out]), "1.2.3") is None
    assert set(Shelf([stages.out]).record("1.2.3").facts["levels"].values()) == {"missing"}
    assert [name for name in stages.times() if name.startswith("1.2.3")] == ["1.2.3.json"]


def test_only_what_changed_is_cut_again(stages):
    stages.make()
    before = stages.times()
    assert stages.make() == ["1.2.3"]
    assert stages.times() == before
    stages.write_masks(MASKS | {"1.2.2": spine_mask(levels=("C3",))})
    stages.make()
    changed = {name for name, time in stages.times().items() if time != before[name]}
    assert changed == {"1.2.2.npy", "1.2.2_mask.npy", "1.2.2.json"}
    stages.make(margin=5)
    assert all(time != before[name] for name, time in stages.times().items())


def test_what_belongs_to_the_shard_no_longer_is_removed(stages):
    stages.make()
    stages.write_masks({"1.2.2": MASKS["1.2.2"]})
    stages.make()
    assert set(stages.times()) == {"1.2.2.npy", "1.2.2_mask.npy", "1.2.2.json"}


def test_a_study_that_lost_its_vertebrae_loses_its_arrays(stages):
    stages.make()
    stages.write_masks(MASKS | {"1.2.1": spine_mask(levels=())})
    assert stages.make() == ["1.2.1", "1.2.3"]
    assert "1.2.1.npy" not in stages.times()


def test_a_mask_of_another_depth_than_its_volume_is_named(stages):
    stages.write_masks(MASKS | {"1.2.1": spine_mask()[:58]})
    with pytest.raises(UserError, match=r"mask of study 1\.2\.1 has 58 slices and its volume 60"):
        stages.make()


def test_a_damaged_crop_is_an_error_that_says_how_to_repair_it(stages):
    stages.make()
    path = stages.out.with_suffix("") / "1.2.1.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="snakemake --force"):
        open_crop(Shelf([stages.out]), "1.2.1")
    stages.make()
    assert open_crop(Shelf([stages.out]), "1.2.1") is not None


def test_an_unknown_study_is_named(stages):
    stages.make()
    with pytest.raises(UserError, match=r"9\.9"):
        Shelf([stages.out]).record("9.9")


def test_the_script_runs_as_the_rule_calls_it_and_names_the_empty_study(stages):
    config = {"crops": CROPS, "z_step": 2, "half_size": 32, "hu_limits": None, "allow_symlinks": False}
    command = [sys.executable, "-m", "workflow_scripts.make_crops", "--config", canonical_json(config)]
    command += ["--set", "keep_volumes=true", "--code", "code", "--dataset", "set", "--out", str(stages.out)]
    for name, path in stages.paths.items():
        command += [f"--{name}", str(path)]
    root = Path(__file__).parents[3]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert "study 1.2.3 shows no usable vertebra" in result.stderr
    before = stages.times()
    stages.make()
    assert stages.times() == before


def test_a_study_whose_volume_cannot_be_had_fails_and_the_others_are_kept(stages, monkeypatch):
    """Without stored volumes the stage decodes: what kills a decoder or fails at the disk is one study's failure."""
    original = FullVolumes.array

    def array(self, study, child):
        if study == "1.2.1":
            raise StudyFailedError("the process that read the study died")
        return original(self, study, child)

    with monkeypatch.context() as broken:
        broken.setattr(FullVolumes, "array", array)
        with pytest.raises(UserError, match=r"make_crops: the study 1.2.1 failed .*The other studies are finished"):
            stages.make()
    assert not stages.out.exists()
    made = stages.times()
    assert "1.2.2.npy" in made
    stages.make()
    assert {name: time for name, time in stages.times().items() if name in made} == made
    assert "1.2.1.npy" in stages.times()
