"""New studies through the whole chain: DICOM, mask, crops, classifiers, files."""

import csv
import gzip
import json
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest
import torch

from spine_models.compute.mask_predictor import MaskPredictor
from spine_models.data.dataset.prediction_tables import PredictionIndex
from spine_models.data.dicom.study import VolumeSettings, open_study, read_study
from spine_models.data.stages.index_predictions import IndexPredictionsSettings, index_predictions, read_studies
from spine_models.errors import UserError
from spine_models.inference.bundle import load_bundle
from spine_models.inference.bundle_description import DESCRIPTION
from spine_models.inference.export_bundle import BundleContents, pack_bundle, write_bundle
from spine_models.inference.inventory import INVENTORY
from spine_models.inference.predict_studies import PredictSettings, predict_studies
from spine_models.inference.predict_study import StudyPredictor, volume_settings_for
from spine_models.inference.prediction_facts import PredictionFacts
from spine_models.inference.prediction_files import MaskFileSettings
from spine_models.levels import TARGETS
from spine_models.provenance.manifest import read_manifest
from spine_models.report.predictions_page import PredictionInputs, PredictionOutputs, publish_predictions
from tests.gpu_troubles import out_of_memory, overflowing
from tests.inference.conftest import SETTINGS as SETTINGS_OF_THE_BUNDLE

SETTINGS = PredictSettings(allow_symlinks=False, math_threads=1, device="cpu")


def index_of(folder):
    return PredictionIndex(folder / "index" / "files.csv", folder / "index" / "studies.csv")


def _predict(studies, bundle, out, code="code", settings=SETTINGS):
    said = []
    index = index_of(out.parent)
    index_predictions(studies, index, IndexPredictionsSettings(1), "code")
    predict_studies(
        studies, read_studies(index, 0), bundle, out, settings, gpus=0, code=code, progress=lambda *a: said.append(a)
    )
    return read_manifest(out), said


def inventory(path):
    with path.open(newline="") as stream:
        return {row["path"]: (row["study"], row["use"], row["reason"]) for row in csv.DictReader(stream)}


@pytest.fixture
def studies(phantom, tmp_path):
    folder = tmp_path / "studies"
    shutil.copytree(phantom / "test_images", folder)
    return folder


def test_a_bundle_in_one_file_predicts_the_same_bytes(studies, bundle_folder, tmp_path):
    pack_bundle(load_bundle(bundle_folder), tmp_path / "bundle.zip")
    for bundle, out in ((bundle_folder, tmp_path / "a"), (tmp_path / "bundle.zip", tmp_path / "b")):
        _predict(studies, bundle, out / "0.json")
        publish(out, bundle)
    one, other = (
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in (tmp_path / "a", tmp_path / "b")
    )
    assert {path for path in one if one[path] != other[path]} == set()
    assert one.keys() == other.keys()


def test_studies_are_predicted_and_one_that_cannot_be_is_refused(studies, bundle_folder, tmp_path):
    names = sorted(path.name for path in studies.iterdir())
    (studies / "Doe Jane").mkdir()
    (studies / "Doe Jane" / "letter.txt").write_text("no image")
    shutil.copytree(studies / names[0], studies / "Doe Jane" / "MR")
    for path in (studies / "Doe Jane" / "MR").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.77", "1.2.77.1", "MR"
        dataset.save_as(path)
    manifest, said = _predict(studies, bundle_folder, tmp_path / "out" / "0.json")
    assert sorted(manifest.studies) == names
    assert {study: why["code"] for study, why in manifest.refused.items()} == {"1.2.77": "no_ct"}
    assert [number for number, _, _ in said] == [1, 2, 3]
    written = {path.name for path in (tmp_path / "out" / "0").iterdir() if not path.name.startswith(".")}
    kinds = (".json", "_mask.nii.gz", "_sagittal.png", "_axial.png", "_view.json")
    assert written == {f"{name}{kind}" for name in names for kind in kinds} | {INVENTORY, f"{INVENTORY}.record.json"}
    assert "Doe" not in "".join(sentence for _, _, sentence in said)
    publish(tmp_path / "out", bundle_folder)
    for path in (tmp_path / "out").rglob("*"):
        assert "Doe" not in path.name
        assert path.is_dir() or (b"Doe Jane" in path.read_bytes()) == (path.name in (INVENTORY, "files.csv"))
    rows = inventory(tmp_path / "out" / INVENTORY)
    assert set(rows) == {str(path.relative_to(studies)) for path in studies.rglob("*") if path.is_file()}
    assert rows["Doe Jane/letter.txt"] == ("", "set aside", "not DICOM")
    assert {row for name, row in rows.items() if "/MR/" in name} == {("1.2.77", "set aside", "no_ct")}
    assert {row for name, row in rows.items() if "Doe" not in name} == {(name, "used", "") for name in names}
    assert (tmp_path / "out" / INVENTORY).stat().st_mode & 0o777 == 0o600


def publish(out, bundle_folder):
    outputs = PredictionOutputs(out / "predictions.csv", out / "submission.csv", out / "index.html")
    return publish_predictions(
        PredictionInputs([out / "0.json"], bundle_folder), index_of(out), outputs, "sensitivity_90"
    )


def test_nothing_of_the_patient_is_in_any_output(studies, bundle_folder, tmp_path):
    secrets = {"PatientName": "SMITH^JANE", "PatientID": "HOSPITAL-77", "PatientBirthDate": "19610203",
               "SeriesDescription": "NECK OF MRS SMITH", "ReferringPhysicianName": "DR^WHO"}  # fmt: skip
    for number, path in enumerate(sorted(studies.rglob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        for keyword, value in secrets.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path.with_name(f"SMITH {number}.dcm"))
        path.unlink()
    (studies / "Smith Jane").mkdir()
    _, said = _predict(studies, bundle_folder, tmp_path / "out" / "0.json")
    publish(tmp_path / "out", bundle_folder)
    text = " ".join(sentence for _, _, sentence in said).encode()
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and path.name not in (INVENTORY, "files.csv"):
            text += path.name.encode() + path.read_bytes()
            text += gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else b""
    for secret in ("smith^jane", "smith jane", "mrs smith", "smith 1", "hospital-77", "19610203", "dr^who"):
        assert secret.encode() not in text.lower()


def test_a_dicom_seg_is_written_over_the_series_and_named_in_the_record(studies, bundle_folder, tmp_path):
    settings = replace(SETTINGS, mask_files=MaskFileSettings(("nifti", "seg")))
    manifest, _ = _predict(studies, bundle_folder, tmp_path / "out" / "0.json", settings=settings)
    study = min(manifest.studies)
    assert f"{study}_mask.dcm" in manifest.record(study).files
    seg = pydicom.dcmread(tmp_path / "out" / "0" / f"{study}_mask.dcm")
    sops = {pydicom.dcmread(path).SOPInstanceUID for path in (studies / study).rglob("*.dcm")}
    (series,) = seg.ReferencedSeriesSequence
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == sops
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == load_bundle(bundle_folder).digest
    assert seg.PatientName == ""
    publish(tmp_path / "out", bundle_folder)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "mask (NIfTI)" in page
    assert "mask (DICOM SEG)" in page
    # Another answer leaves no file of the one before.
    _predict(studies, bundle_folder, tmp_path / "out" / "0.json")
    assert not list((tmp_path / "out" / "0").glob("*.dcm"))


def test_a_seg_that_cannot_be_made_is_a_note(studies, bundle_folder, tmp_path):
    for path in studies.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = ""
        dataset.save_as(path)
    settings = replace(SETTINGS, mask_files=MaskFileSettings(("seg",)))
    manifest, _ = _predict(studies, bundle_folder, tmp_path / "out" / "0.json", settings=settings)
    assert len(manifest.studies) == 2
    for study in manifest.studies:
        notes = manifest.facts(study, PredictionFacts).notes
        assert any("no valid SeriesInstanceUID" in note for note in notes)
    assert not list((tmp_path / "out" / "0").glob("*_mask.*"))


def test_facts_are_those_of_the_steps_done_one_by_one(studies, bundle_folder, tmp_path):
    manifest, _ = _predict(studies, bundle_folder, tmp_path / "0.json")
    study = min(manifest.studies)
    facts = manifest.facts(study, PredictionFacts)
    bundle = load_bundle(bundle_folder)
    source = open_study(studies / study, studies, VolumeSettings())
    settings = volume_settings_for(bundle, source, allow_symlinks=False)
    again = StudyPredictor(bundle, torch.device("cpu")).predict(source, settings)
    assert facts.probabilities == again.facts.probabilities
    assert set(facts.models) == {"ir-0", "ip-0"}
    assert (facts.mask_networks, facts.mask_flips) == (("csn_unet-0",), bundle.mask_flips)
    mean = np.mean(list(facts.models.values()), axis=0)
    np.testing.assert_allclose([facts.probabilities[target] for target in TARGETS], mean)
    image = nibabel.load(manifest.record_path(study).parent / f"{study}_mask.nii.gz")
    assert image.shape == source.grid.shape[::-1]
    superior_first = np.asarray(image.dataobj).transpose(2, 1, 0)[::-1, ::-1]
    np.testing.assert_array_equal(superior_first[:: settings.z_step], again.mask)
    top = read_study(studies / study, settings).facts.affine_lps
    corner = np.array(top) @ [0, 0, 0, 1]
    np.testing.assert_allclose(
        (image.affine @ [0, image.shape[1] - 1, image.shape[2] - 1, 1])[:3], corner[:3] * [-1, -1, 1], atol=1e-4
    )


def test_a_second_run_finds_its_results_and_a_new_bundle_or_code_does_not(studies, bundle_folder, tmp_path):
    out = tmp_path / "0.json"
    first, _ = _predict(studies, bundle_folder, out)
    mark = {path: path.stat().st_mtime_ns for path in (tmp_path / "0").iterdir() if path.suffix == ".png"}
    second, said = _predict(studies, bundle_folder, out)
    assert all("already predicted" in sentence for _, _, sentence in said)
    assert mark == {path: path.stat().st_mtime_ns for path in mark}
    assert first.studies == second.studies
    _, said = _predict(studies, bundle_folder, out, code="other")
    assert not any("already" in sentence for _, _, sentence in said)


def with_another_series(study, **tags):
    """Add a second series to a study: the same slices, with other tags. Returns the UIDs of both."""
    for path in sorted(study.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        sharp = str(dataset.SeriesInstanceUID)
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{sharp}.2", f"{dataset.SOPInstanceUID}.2"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.save_as(study / f"other {path.name}")
    return sharp, f"{sharp}.2"


def test_what_is_said_of_other_series_is_of_this_run(studies, bundle_folder, tmp_path):
    """The series that is read may be the same while others come and go, or a person chooses it."""
    out, study = tmp_path / "0.json", min(studies.iterdir())
    shutil.rmtree(max(studies.iterdir()))

    def others(**chosen):
        manifest, _ = _predict(studies, bundle_folder, out, settings=replace(SETTINGS, **chosen))
        assert manifest.refused == {}
        uses = {row["use"] for row in csv.DictReader((tmp_path / "0" / INVENTORY).open(newline=""))}
        facts = manifest.facts(study.name, PredictionFacts)
        return [item.why_not for item in facts.volume.series[1:]], facts.volume.series[0].series, uses, facts.notes

    assert others()[0] == []
    sharp, soft = with_another_series(study, SeriesNumber=9, ConvolutionKernel="Br36")
    assert others()[:3] == (["a softer kernel"], sharp, {"used", "set aside"})
    assert others(series={study.name: sharp})[:3] == (["not the series asked for"], sharp, {"used", "set aside"})
    assert others(series={"*": soft})[:2] == (["not the series asked for"], soft)
    *_, notes = others(series={"*": "1.2.3"})
    assert any("asked for" in note for note in notes)


def test_what_belongs_to_no_study_any_more_is_removed(studies, bundle_folder, tmp_path):
    _predict(studies, bundle_folder, tmp_path / "0.json")
    gone = min(studies.iterdir())
    shutil.rmtree(gone)
    manifest, _ = _predict(studies, bundle_folder, tmp_path / "0.json")
    assert gone.name not in manifest.studies
    assert not list((tmp_path / "0").glob(f"{gone.name}*"))


def test_a_study_that_is_there_twice_is_predicted_once(studies, bundle_folder, tmp_path):
    first = min(studies.iterdir())
    shutil.copytree(first, studies / "9.9.9")
    manifest, _ = _predict(studies, bundle_folder, tmp_path / "0.json")
    assert first.name in manifest.studies
    assert manifest.refused == {}


def test_a_nested_tree_gives_the_probabilities_of_tidy_folders(studies, bundle_folder, tmp_path):
    """One folder per series, patient/study/series, and everything in one folder."""
    tidy, _ = _predict(studies, bundle_folder, tmp_path / "tidy" / "0.json")
    expected = {study: tidy.record(study).facts["probabilities"] for study in tidy.studies}
    layouts = {
        "nested": lambda study, number: f"P{study[-3:]}/1/S{number % 2}/{number}",
        "dump": lambda study, number: f"{number}{study[-3:]}",
    }
    for layout, place in layouts.items():
        for folder in studies.iterdir():
            for number, path in enumerate(sorted(folder.iterdir())):
                target = tmp_path / layout / place(folder.name, number)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        manifest, _ = _predict(tmp_path / layout, bundle_folder, tmp_path / f"{layout} out" / "0.json")
        assert {study: manifest.record(study).facts["probabilities"] for study in manifest.studies} == expected


@pytest.mark.usefixtures("in_float32")
def test_a_study_says_that_half_precision_overflowed_and_is_float32s(studies, bundle_folder, tmp_path, monkeypatch):
    def predicted(out):
        manifest, _ = _predict(studies, bundle_folder, out)
        return [manifest.facts(study, PredictionFacts) for study in manifest.studies]

    expected = predicted(tmp_path / "a" / "0.json")
    overflowing(monkeypatch)
    for found, plain in zip(predicted(tmp_path / "b" / "0.json"), expected, strict=True):
        assert found.probabilities == plain.probabilities
        assert set(found.notes) - set(plain.notes) == {
            "half precision overflowed in a network: this study was computed once more in float32"
        }


def test_memory_that_runs_out_is_a_sentence(studies, bundle_folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        out_of_memory(patch, "logits")
        manifest, _ = _predict(studies, bundle_folder, tmp_path / "0.json")
    assert list(manifest.studies) == []
    for why in manifest.refused.values():
        assert why["code"] == "failed"
        assert why["reason"].startswith("out of GPU memory: set device: cpu")
    # Networks that do not fit fit no study.
    out_of_memory(monkeypatch, "__init__")
    with pytest.raises(UserError, match=r"^out of GPU memory: set device: cpu"):
        _predict(studies, bundle_folder, tmp_path / "other" / "0.json")


def test_a_study_that_fails_does_not_take_others_along(studies, bundle_folder, tmp_path, monkeypatch):
    names = sorted(path.name for path in studies.iterdir())

    def crash(self, source, *rest):
        if source.study_uid == names[0]:
            raise MemoryError
        return predict(self, source, *rest)

    predict = StudyPredictor.predict
    monkeypatch.setattr(StudyPredictor, "predict", crash)
    manifest, said = _predict(studies, bundle_folder, tmp_path / "0.json")
    assert manifest.refused[names[0]]["code"] == "failed"
    assert list(manifest.studies) == names[1:]
    assert said[0][2].startswith(f"{names[0]}: failed, MemoryError")
    rows = {study.study: study.status for study in publish(tmp_path, bundle_folder)}
    # What a network that learnt nothing calls vertebrae is not a spine.
    assert rows == {names[0]: "failed", names[1]: "implausible"}
    table = (tmp_path / "predictions.csv").read_text().splitlines()
    assert table[1].startswith(f"{names[0]},,,,,,,,,failed,failed,")
    monkeypatch.undo()
    manifest, _ = _predict(studies, bundle_folder, tmp_path / "0.json")
    assert sorted(manifest.studies) == names


def test_thick_slices_are_not_thinned_out_and_a_note_says_so(studies, bundle_folder):
    # The phantom's slices are about 2.5 mm apart; the bundle's z_step of 2 would leave 5 mm.
    bundle = load_bundle(bundle_folder)
    source = open_study(min(studies.iterdir()), studies, VolumeSettings())
    settings = volume_settings_for(bundle, source, allow_symlinks=False)
    assert settings.z_step == 1
    notes = StudyPredictor(bundle, torch.device("cpu")).predict(source, settings).facts.notes
    assert any("z_step 1 was used, where the networks learnt with 2" in note for note in notes)


def test_intensities_are_limited_as_the_networks_learnt_them(studies, bundle_folder):
    bundle = load_bundle(bundle_folder)
    source = open_study(min(studies.iterdir()), studies, VolumeSettings())
    assert volume_settings_for(bundle, source, allow_symlinks=False).hu_limits == (-1024, 3071)
    limited = replace(bundle, settings=bundle.settings | {"hu_limits": [-900, 200]})
    settings = volume_settings_for(limited, source, allow_symlinks=False)
    half = StudyPredictor(limited, torch.device("cpu")).predict(source, settings).half
    assert (half[:, :8].min(), half.max()) == (-900, 200)


def test_flips_are_the_bundles_unless_others_are_asked_for(studies, bundle_folder, tmp_path):
    bundle = load_bundle(bundle_folder)
    mirrored = replace(bundle, settings=bundle.settings | {"crop_inference": {"flips": ["horizontal"]}})
    older = replace(
        bundle, settings={name: value for name, value in bundle.settings.items() if name != "crop_inference"}
    )
    source = open_study(min(studies.iterdir()), studies, VolumeSettings())
    settings = volume_settings_for(bundle, source, allow_symlinks=False)

    def predicted(bundle, flips=None):
        facts = StudyPredictor(bundle, torch.device("cpu"), flips).predict(source, settings).facts
        return facts.probabilities

    assert predicted(bundle) == predicted(older) == predicted(mirrored, ("none",))
    assert predicted(mirrored) != predicted(bundle)
    assert predicted(bundle, ("none", "horizontal")) not in (predicted(bundle), predicted(mirrored))


def test_other_flips_are_predicted_anew(studies, bundle_folder, tmp_path):
    shutil.rmtree(max(studies.iterdir()))
    _predict(studies, bundle_folder, tmp_path / "0.json")
    both = replace(SETTINGS, flips=("none", "horizontal"))
    _, said = _predict(studies, bundle_folder, tmp_path / "0.json", settings=both)
    assert not any("already" in sentence for _, _, sentence in said)
    _, said = _predict(studies, bundle_folder, tmp_path / "0.json", settings=both)
    assert all("already" in sentence for _, _, sentence in said)


def test_all_networks_compute_in_the_precision_that_is_asked_for(studies, bundle_folder):
    bundle = load_bundle(bundle_folder)
    source = open_study(min(studies.iterdir()), studies, VolumeSettings())
    settings = volume_settings_for(bundle, source, allow_symlinks=False)
    rounded = StudyPredictor(bundle, torch.device("cpu"), precision="bf16")
    assert {network.precision for network in rounded._masks._networks} == {"bf16"}
    facts = rounded.predict(source, settings).facts
    exact = StudyPredictor(bundle, torch.device("cpu"), precision="fp32").predict(source, settings).facts
    assert (facts.precision, exact.precision) == ("bf16", "fp32")
    assert facts.probabilities != exact.probabilities


def test_another_precision_is_predicted_anew(studies, bundle_folder, tmp_path):
    shutil.rmtree(max(studies.iterdir()))
    _predict(studies, bundle_folder, tmp_path / "0.json")
    _, said = _predict(studies, bundle_folder, tmp_path / "0.json", settings=replace(SETTINGS, precision="bf16"))
    assert not any("already" in sentence for _, _, sentence in said)


def test_a_bundle_from_before_the_limits_has_none(studies, bundle_folder):
    bundle = load_bundle(bundle_folder)
    del bundle.settings["hu_limits"]
    source = open_study(min(studies.iterdir()), studies, VolumeSettings())
    assert volume_settings_for(bundle, source, allow_symlinks=False).hu_limits is None


def test_without_a_vertebra_the_prior_is_the_prediction(studies, bundle_folder):
    bundle = load_bundle(bundle_folder)
    predictor = StudyPredictor(bundle, torch.device("cpu"))
    # A segmentation network that sees nothing but background.
    head = predictor._masks._networks[0]._network.head
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([1.0] + [0.0] * 7))
    source = open_study(min(studies.iterdir()), studies, VolumeSettings())
    prediction = predictor.predict(source, volume_settings_for(bundle, source, allow_symlinks=False))
    assert prediction.facts.probabilities == bundle.prior
    assert prediction.facts.source == "prior"
    assert any("prior" in note for note in prediction.facts.notes)
    json.dumps(prediction.facts.to_json(), allow_nan=False)


def test_a_study_without_uid_is_called_by_its_content(studies, bundle_folder, tmp_path):
    for path in min(studies.iterdir()).iterdir():
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = ""
        dataset.save_as(path)
    manifest, _ = _predict(studies, bundle_folder, tmp_path / "0.json")
    assert any(study.startswith("study-") for study in manifest.studies)


def test_the_mask_chooses_among_stacks_and_a_single_one_is_not_looked_at(monkeypatch):
    predictor = object.__new__(StudyPredictor)
    monkeypatch.setattr(StudyPredictor, "_visible", lambda self, study: study)
    decoded = []

    def decode(source, settings):
        decoded.append(source)
        return {"chest": 1, "neck": 7, "other neck": 7}[source]

    assert predictor.most_of_the_neck(["chest"], [None], decode) == (0, {})
    assert decoded == []
    assert predictor.most_of_the_neck(["chest", "neck", "other neck"], [None] * 3, decode) == (1, {})


@pytest.mark.parametrize(
    ("tags", "missing", "words"),
    [
        ({"Rows": 4000, "Columns": 4000}, 0, "is shorter than"),
        ({"RescaleSlope": 0}, 0, "RescaleSlope"),
        ({}, 10, "a gap of"),
    ],
)
def test_a_stack_that_cannot_be_read_takes_none_along_that_may_be_as_good(
    studies, bundle_folder, tmp_path, tags, missing, words
):
    """Two series that only the mask could choose between, of which one is damaged."""
    study = min(studies.iterdir())
    shutil.rmtree(max(studies.iterdir()))
    whole, damaged = with_another_series(study, SeriesNumber=0, **tags)
    others = sorted(study.glob("other *"), key=lambda path: pydicom.dcmread(path).InstanceNumber)
    for path in others[20 : 20 + missing]:
        path.unlink()
    for again in (False, True):
        manifest, said = _predict(studies, bundle_folder, tmp_path / "0.json")
        assert manifest.refused == {}
        assert ("already predicted" in said[0][2]) == again
        read, left = manifest.facts(study.name, PredictionFacts).volume.series
        assert (read.series, left.series) == (whole, damaged)
        assert words in left.why_not


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize(("clip", "sure", "mean"), [("models", 0.99, 0.5), ("mean", 1.0, 0.5), (None, 0.99, 0.5)])
def test_probabilities_are_limited_for_each_model_or_for_their_mean(studies, bundle_folder, clip, sure, mean):
    bundle = load_bundle(bundle_folder)
    if clip is not None:
        bundle.settings["clip"] = clip
    predictor = StudyPredictor(bundle, torch.device("cpu"))
    with torch.no_grad():
        for classifier, bias in zip(predictor._classifiers.values(), (40.0, -40.0), strict=True):
            classifier._network._network.head.weight.zero_()
            classifier._network._network.head.bias.fill_(bias)
    source = open_study(min(studies.iterdir()), studies, VolumeSettings())
    facts = predictor.predict(source, volume_settings_for(bundle, source, allow_symlinks=False)).facts
    assert facts.models["ir-0"] == pytest.approx([sure] * 8)
    assert facts.models["ip-0"] == pytest.approx([1.0 - sure] * 8)
    assert list(facts.probabilities.values()) == pytest.approx([mean] * 8)
    with torch.no_grad():
        predictor._classifiers["ip-0"]._network._network.head.bias.fill_(40.0)
    facts = predictor.predict(source, volume_settings_for(bundle, source, allow_symlinks=False)).facts
    assert list(facts.probabilities.values()) == pytest.approx([0.99] * 8)


@pytest.fixture
def mask_bundle(networks, tmp_path):
    """A bundle without classifiers."""
    settings = {name: value for name, value in vars(SETTINGS_OF_THE_BUNDLE).items() if name != "phantom"}
    contents = BundleContents(settings, None, phantom=True, provenance={})
    write_bundle(tmp_path / "masks" / DESCRIPTION, networks["segmentation"], [], contents)
    return tmp_path / "masks"


def test_a_mask_without_a_vertebra_is_no_answer_of_a_bundle_without_classifiers(
    studies, mask_bundle, tmp_path, monkeypatch
):
    monkeypatch.setattr(MaskPredictor, "mask", lambda self, half, *_: np.zeros(half.shape, np.uint8))
    shutil.rmtree(max(studies.iterdir()))
    _, ((_, _, sentence),) = _predict(studies, mask_bundle, tmp_path / "out" / "0.json")
    assert sentence.endswith(": predicted, no vertebra found")
    (study,) = publish(tmp_path / "out", mask_bundle)
    assert (study.status, study.probabilities) == ("prior", None)
    assert "no vertebra is visible" in study.notes
    assert len((tmp_path / "out" / "submission.csv").read_text().splitlines()) == 1
    page = (tmp_path / "out" / "studies" / f"{study.study}.html").read_text()
    assert "no vertebra found, no prediction" in page


def test_a_bundle_without_classifiers_makes_masks_and_pictures(studies, mask_bundle, tmp_path):
    manifest, said = _predict(studies, mask_bundle, tmp_path / "out" / "0.json")
    assert all("predicted from mask, implausible: " in sentence for _, _, sentence in said)
    for study in manifest.studies:
        facts = manifest.facts(study, PredictionFacts)
        assert facts.probabilities is None
        assert "visible" in facts.levels.values()
        assert not any("prior" in note or "probabilities" in note for note in facts.notes)
        assert len(list((tmp_path / "out" / "0").glob(f"{study}_*"))) == 4
    publish(tmp_path / "out", mask_bundle)
    rows = (tmp_path / "out" / "predictions.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1:10] for row in rows] == [[""] * 8 + ["implausible"]] * 2
