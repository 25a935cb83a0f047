"""What the functional groups of an enhanced object say of one frame (DICOM PS3.3 section C.7.6.16)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from spine_models.data.dicom.values import integer_of, items_of, number_of, text_of, vector_of, words_of

_PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_MEASURES, _PIXEL_VALUES = 0x00209113, 0x00209116, 0x00289110, 0x00289145
_FRAME_TYPE_SEQUENCE, _FRAME_CONTENT, _XRAY_DETAILS, _RECONSTRUCTION = 0x00189329, 0x00209111, 0x00189325, 0x00189314
_POSITION, _ORIENTATION, _SPACING, _THICKNESS = 0x00200032, 0x00200037, 0x00280030, 0x00180050
_INTERCEPT, _SLOPE, _RESCALE_TYPE = 0x00281052, 0x00281053, 0x00281054
_FRAME_TYPE, _ACQUISITION_NUMBER, _ACQUISITION_DATETIME = 0x00089007, 0x00209156, 0x00189074
_STACK_ID, _TEMPORAL_INDEX, _TUBE_VOLTAGE, _KERNEL = 0x00209056, 0x00209128, 0x00180060, 0x00181210


def frame_facts(group: Dataset, shared: Dataset, little_endian: bool) -> dict[str, Any]:
    """Return the fields of a ``SliceHeader`` that the groups of a frame, or the shared ones, give.

    Args:
        group: item of PerFrameFunctionalGroupsSequence.
        shared: item of SharedFunctionalGroupsSequence.
        little_endian: byte order of the elements.
    """

    def macro(tag: int) -> Dataset:
        return (items_of(group, tag) or items_of(shared, tag) or [Dataset()])[0]

    measures, content = macro(_PIXEL_MEASURES), macro(_FRAME_CONTENT)
    facts = {
        "image_type": words_of(macro(_FRAME_TYPE_SEQUENCE), _FRAME_TYPE),
        "position": vector_of(macro(_PLANE_POSITION), _POSITION, 3),
        "orientation": vector_of(macro(_PLANE_ORIENTATION), _ORIENTATION, 6),
        "spacing": vector_of(measures, _SPACING, 2),
        "thickness": number_of(measures, _THICKNESS),
        "acquisition": integer_of(content, _ACQUISITION_NUMBER, little_endian),
        "temporal": integer_of(content, _TEMPORAL_INDEX, little_endian, size=4),
        "acquisition_time": text_of(content, _ACQUISITION_DATETIME),
        "stack": text_of(content, _STACK_ID),
        "tube_voltage": number_of(macro(_XRAY_DETAILS), _TUBE_VOLTAGE),
        "kernel": text_of(macro(_RECONSTRUCTION), _KERNEL),
        "rescale_type": text_of(macro(_PIXEL_VALUES), _RESCALE_TYPE).upper(),
    }
    found: dict[str, Any] = {name: value for name, value in facts.items() if value not in (None, "", ())}
    values = macro(_PIXEL_VALUES)
    if values:  # a rescale without slope is not a rescale, whatever the object says as a whole
        found |= {"slope": number_of(values, _SLOPE), "intercept": number_of(values, _INTERCEPT)}
    return found
