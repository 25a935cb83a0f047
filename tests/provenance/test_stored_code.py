"""What a run's fingerprints were made from, and what differs from it."""

from spine_models.provenance.fingerprint import fingerprint
from spine_models.provenance.stored_code import changed_modules, store_code

BEFORE = {"script": "1", "spine_models.a": "2", "spine_models.b": "3"}
NOW = {"script": "1", "spine_models.a": "9", "spine_models.c": "4"}


def test_modules_that_changed_came_or_went_are_named(tmp_path):
    store_code(tmp_path, BEFORE)
    assert changed_modules(tmp_path, fingerprint(BEFORE), BEFORE) == ()
    assert changed_modules(tmp_path, fingerprint(BEFORE), NOW) == (
        "spine_models.a",
        "spine_models.b",
        "spine_models.c",
    )


def test_modules_of_code_that_was_never_stored_are_unknown(tmp_path):
    assert changed_modules(tmp_path, "0123456789abcdef", NOW) is None
