"""The one intensity, in Hounsfield units, that every part of the pipeline shares."""

from __future__ import annotations

AIR_HU = -1000
"""The one fill value: rotation borders, padding, z beyond the volume, padding tags (method, crops and targets)."""
