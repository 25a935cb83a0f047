import hashlib

import numpy as np
import pytest

from spine_models.provenance.canonical import canonical_json, digest_file, digest_json


def test_order_of_keys_does_not_matter_and_values_do():
    assert canonical_json({"b": [1, 2], "a": None}) == '{"a":null,"b":[1,2]}'
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1}) != digest_json({"a": 1, "b": 3})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1)])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        canonical_json({"value": value})


def test_digest_of_a_file_is_its_sha256(tmp_path):
    content = b"x" * (3 << 20)
    (tmp_path / "file").write_bytes(content)
    assert digest_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
