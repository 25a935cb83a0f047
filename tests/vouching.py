"""Records beside files that a test writes in a rule's place."""

from spine_models.provenance.keys import Key
from spine_models.provenance.vouched import vouch


def published(path):
    """Vouch for ``path`` as the rule that makes it does, and return it."""
    vouch(path, Key("make_by_hand", {}, {}, "code"))
    return path
