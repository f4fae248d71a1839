"""The non-empty fields of an item with display names instead of paths."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from xnatferry.xnat.custom_fields import json_values, variable_name

if TYPE_CHECKING:
    from xnatferry.server.objects import Item

__all__ = ["fields_of"]

#: Words as XNAT's own pages write them; other paths are shown as they are.
_WORDS: Final = {
    "acquisition_site": "Acquisition site",
    "age": "Age",
    "date": "Date",
    "demographics/age": "Age",
    "demographics/dob": "Date of birth",
    "demographics/education": "Education (years)",
    "demographics/ethnicity": "Ethnicity",
    "demographics/gender": "Gender",
    "demographics/handedness": "Handedness",
    "demographics/height": "Height",
    "demographics/race": "Race",
    "demographics/weight": "Weight",
    "demographics/yob": "Year of birth",
    "description": "Description",
    "fieldStrength": "Field strength",
    "fields/field": "Custom field",
    "group": "Group",
    "keywords": "Keywords",
    "name": "Name",
    "note": "Note",
    "operator": "Operator",
    "parameters/acqType": "Acquisition type",
    "parameters/fov/x": "Field of view x",
    "parameters/fov/y": "Field of view y",
    "parameters/flip": "Flip angle (°)",
    "parameters/orientation": "Orientation",
    "parameters/scanSequence": "Scanning sequence",
    "parameters/seqVariant": "Sequence variant",
    "parameters/sequence": "Sequence",
    "parameters/te": "TE (ms)",
    "parameters/ti": "TI (ms)",
    "parameters/tr": "TR (ms)",
    "parameters/voxelRes/x": "Voxel size x (mm)",
    "parameters/voxelRes/y": "Voxel size y (mm)",
    "parameters/voxelRes/z": "Voxel size z (mm)",
    "PI/firstname": "Investigator, first name",
    "PI/lastname": "Investigator",
    "quality": "Usability",
    "scanner": "Scanner",
    "scanner/manufacturer": "Manufacturer",
    "scanner/model": "Scanner model",
    "secondary_ID": "Running title",
    "series_description": "Series description",
    "src": "Source",
    "time": "Time",
    "type": "Type",
    "visit_id": "Visit",
}
_HIDDEN: Final = {"accessibility", "custom_fields", "label", "ID", "project"}


def fields_of(item: Item, *, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """Words and values of the fields of *item*, by path; *without* some paths. Custom fields have their own names."""
    fields = [
        (variable_name(item.xsi_type, path) or _WORDS.get(path, path), value)
        for path, value in sorted(item.fields.items())
        if value
        and path not in _HIDDEN
        and path not in without
        and not path.endswith("/@type")
        and not path.startswith("setting:")
    ]
    custom = json_values(json.loads(item.fields.get("custom_fields") or "{}"))
    return [*fields, *((name, value) for _, name, value in custom)]
