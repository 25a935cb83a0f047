"""A study that a stage cannot use."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818  (a refused study is an outcome, not an error)
    """A study that a stage cannot use; the others of its shard go on.

    Attributes:
        code: an entry of a closed list.
        reason: one sentence for people.
    """

    code: str
    reason: str

    def as_entry(self) -> dict[str, str]:
        """Return what a manifest stores under ``refused``."""
        return {"code": str(self.code), "reason": self.reason}
