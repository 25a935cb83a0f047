"""What a prediction needs: the bundle and the studies that the tests of the inference make."""

from tests.inference.conftest import bundle_folder, networks, phantom, train_csv

__all__ = ["bundle_folder", "networks", "phantom", "train_csv"]
