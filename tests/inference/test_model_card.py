"""The card of a bundle: made from what the bundle says, with what it must not be used for."""

from spine_models.data.training_facts import training_facts
from spine_models.evaluation.operating_points import POINTS, SCOPES, OperatingPoint, OperatingPoints
from spine_models.inference.bundle import load_bundle
from spine_models.inference.model_card import CardContents, Figures, figures_of, model_card
from spine_models.provenance.canonical import digest_file
from tests.volumes import volume_facts

FIGURES = Figures(160, 0.4213, (0.3825, 0.4605), 0.5524, 0.8375, (0.77, 0.895), 0.788, 48)
POINT = OperatingPoint(0.31, 0.9, 0.45, (0.82, 0.96), None, 80, 80)


def _card(**changes):
    contents = {
        "phantom": True,
        "segmentation": ("unet-0",),
        "classification": ("ir-0", "ip-0"),
        "settings": {"z_step": 2, "hu_limits": [-1024, 3071]},
        "training_data": training_facts([volume_facts(manufacturer="Acme"), volume_facts()]),
        "figures": FIGURES,
        "operating_points": OperatingPoints(
            {name: dict.fromkeys(SCOPES, POINT) for name in POINTS}, ("ir-0", "ip-0"), ("none",), ("fp32",), 160
        ),
        "provenance": {"code": "abc", "versions": {"torch": "2.9"}},
    }
    return model_card(CardContents(**{**contents, **changes}))


def test_everything_that_is_known_is_told():
    text = _card()
    for expected in (
        "Research software, not a medical device",
        "phantoms, which a program drew, and not from patients",
        "* classifiers: ir-0, ip-0",
        "2 studies. Scanners: Acme (1), not recorded (1).",
        "| distance of the slices used (mm) | 1.25 | 1.25 | 1.25 | 1.25 | 1.25 |",
        "* challenge loss of 160 studies: 0.421 (95 % interval 0.383 to 0.461); of the best constant prediction: 0.552",
        "* AUC of patient_overall: 0.838 (95 % interval 0.770 to 0.895)",
        "* Dice of C1 to C7, mean of 48 held-out studies: 0.788",
        "judged by the networks of a single fold",
        "| youden | vertebra | 0.310 | 0.900 (95 % interval 0.820 to 0.960) | 0.450 |",
        "* diagnosis, treatment",
        "* torch: 2.9",
    ):
        assert expected in text, expected
    assert text.count("On phantoms; they say nothing of patients.") == 1


def test_what_nobody_knows_is_said():
    text = _card(phantom=False, classification=(), training_data=None, figures=None, operating_points=None)
    for expected in (
        "CT studies",
        "It judges no fractures.",
        "* classifiers: none",
        "Spacing, extents and scanners are not known.",
        "Not known: no out-of-fold figures came with these networks.",
        "None known: predictions mark nothing.",
    ):
        assert expected in text, expected
    assert "hantom" not in text


def test_figures_come_from_the_evaluation():
    classification = {
        "n_studies": 3,
        "competition_loss": 0.5,
        "competition_loss_ci95": [0.4, 0.6],
        "prior_loss": 0.7,
        "auc": {"C1": 1.0},
        "auc_ci95": {},
    }
    assert figures_of({"classification": classification}) == Figures(3, 0.5, (0.4, 0.6), 0.7, None, None, None, 0)
    known = {"dice_mean": 0.8, "n_studies": 4}
    assert figures_of({"classification": classification, "segmentation": known}).dice_studies == 4


def test_a_card_is_a_part_of_the_bundle_and_vouched_for(bundle_folder):
    bundle = load_bundle(bundle_folder)
    path = bundle_folder / bundle.card.file
    assert path.name == "model_card.md"
    assert "# Model card" in path.read_text()
    assert digest_file(path) == bundle.card.sha256
