"""What is said of the volumes that networks learnt from."""

import pytest

from spine_models.data.dicom.study import VolumeSettings, read_study
from spine_models.data.training_facts import MEASURES, TrainingFacts, measures_of, training_facts
from spine_models.data.volume_facts import VolumeFacts
from tests.data.dicom_builder import write_stack
from tests.volumes import volume_facts


def test_measures_of_one_volume():
    volume = volume_facts(shape=(50, 512, 400), spacing_mm=(2.0, 0.4, 0.5), mean=-100.0, std=300.0)
    expected = {"step_mm": 2, "pixel_mm": 0.4, "height_mm": 100, "width_mm": 200, "mean_hu": -100, "std_hu": 300}
    assert measures_of(volume) == expected


def test_quantiles_and_vendors():
    volumes = [volume_facts(mean=float(number), manufacturer="Acme" if number else "") for number in range(101)]
    found = training_facts(volumes)
    assert found.studies == 101
    assert found.measures["mean_hu"] == (0.0, 1.0, 50.0, 99.0, 100.0)
    assert set(found.measures) == set(MEASURES)
    assert found.vendors == {"Acme": 100, "not recorded": 1}
    assert TrainingFacts.from_json(found.to_json()) == found


def test_no_volumes_say_nothing():
    assert training_facts([]) is None


def test_a_record_from_before_manufacturers_is_read():
    facts = volume_facts().to_json()
    del facts["manufacturer"]
    assert VolumeFacts.from_json(facts).manufacturer == ""


@pytest.mark.parametrize(
    ("text", "kept"), [("Acme^Inc", "AcmeInc"), ("x" * 60, "x" * 32), (" Acme Medical ", "Acme Medical")]
)
def test_a_manufacturer_is_kept_without_unusual_characters(tmp_path, text, kept):
    write_stack(tmp_path / "1.2", Manufacturer=text)
    assert read_study(tmp_path / "1.2", VolumeSettings(z_step=1, half_size=4)).facts.manufacturer == kept
