import json

from spine_models.provenance.keys import Key


def test_a_key_depends_on_each_of_its_parts():
    base = ("crops", {"mask": "1"}, {"depth": 40}, "code")
    changed = [
        ("masks", *base[1:]),
        (base[0], {"mask": "2"}, *base[2:]),
        (*base[:2], {"depth": 41}, "code"),
        (*base[:3], "other"),
    ]
    assert len({Key(*parts).digest for parts in [base, *changed]}) == 5


def test_a_key_comes_back_from_json_as_the_same():
    key = Key("crops", {"mask": "1"}, {"size": (40, 256)}, "code")
    assert Key(**json.loads(json.dumps(key.parts()))).digest == key.digest
