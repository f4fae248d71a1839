"""Names of BIDS files: entities, suffix, extension; and the rules of the BIDS schema.

The schema comes with the package bidsschematools, so that a new version of BIDS is a new version of that package. It is
loaded when the first name is checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Extensions of two parts; others begin at the last dot.
_DOUBLE: Final = (".nii.gz", ".tsv.gz", ".ome.tif", ".ome.btf", ".ome.zarr", ".gii.gz", ".json.gz")
_OPAQUE: Final = frozenset({"code", "docs", "logs", "stimuli"})
#: Extensions that may be in a folder above the data (BIDS, the inheritance principle).
_INHERITED: Final = frozenset({".json", ".tsv", ".tsv.gz", ".bval", ".bvec"})


@dataclass(frozen=True, slots=True)
class BidsName:
    """The name of a file or folder, taken apart: ``sub-01_task-rest_bold.nii.gz``.

    Attributes:
        entities: Short names and labels in the order of the name: ``("sub", "01"), ("task", "rest")``.
        suffix: ``bold``.
        extension: ``.nii.gz``.
    """

    entities: tuple[tuple[str, str], ...]
    suffix: str
    extension: str

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return "_".join([*(f"{key}-{label}" for key, label in self.entities), self.suffix])

    def label(self, key: str) -> str | None:
        """The label of one entity."""
        return next((label for name, label in self.entities if name == key), None)

    def without(self, *keys: str) -> frozenset[tuple[str, str]]:
        """The entities but these, as a set."""
        return frozenset(pair for pair in self.entities if pair[0] not in keys)

    def short_stem(self) -> str:
        """The stem without subject and session: ``task-rest_bold``."""
        kept = (f"{key}-{label}" for key, label in self.entities if key not in {"sub", "ses"})
        return "_".join([*kept, self.suffix])


def split_extension(name: str) -> tuple[str, str]:
    """A name as stem and extension: ``x.nii.gz`` is ``x`` and ``.nii.gz``; a hidden file is all stem."""
    for ending in _DOUBLE:
        if name.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], ending
    stem, dot, ending = name.rpartition(".")
    return (stem, f".{ending}") if dot and stem else (name, "")


@lru_cache(maxsize=65536)
def parse_name(name: str) -> BidsName | None:
    """Take a name apart; None when it is not made of entities and a suffix."""
    stem, extension = split_extension(name)
    *pairs, suffix = stem.split("_")
    if not pairs or not suffix or "-" in suffix:
        return None
    entities: list[tuple[str, str]] = []
    for pair in pairs:
        key, dash, label = pair.partition("-")
        if not key.isalnum() or not dash or not label:
            return None
        entities.append((key, label))
    return BidsName(tuple(entities), suffix, extension)


@dataclass(frozen=True, slots=True)
class BidsSchema:
    """Name rules of the BIDS schema.

    Attributes:
        version: Version of BIDS, ``1.11.2``.
        entities: Short names of all entities.
        datatypes: Names of the folders that hold data.
        datatypes_of: The datatypes that allow a suffix.
        rules: Patterns of whole paths by suffix; those under the empty suffix are for every name.
    """

    version: str
    entities: frozenset[str]
    datatypes: frozenset[str]
    datatypes_of: Mapping[str, tuple[str, ...]]
    rules: Mapping[str, Sequence[re.Pattern[str]]]

    def allows(self, path: str) -> bool:
        """Whether the schema has a place for a file at *path*, relative to the root of a dataset."""
        parts = path.split("/")
        if parts[0] in _OPAQUE and len(parts) > 1:
            return True
        if path == ".bidsignore" or self._is_inherited(parts):
            return True
        # Formats that are folders: the rule is about the folder.
        for depth in range(3, len(parts)):
            if self._matches("/".join(parts[:depth]) + "/"):
                return True
        return self._matches(path)

    def _matches(self, path: str) -> bool:
        name = parse_name(path.rstrip("/").rsplit("/", 1)[-1])
        suffix = name.suffix if name is not None else ""
        return any(rule.match(path) for key in {suffix, ""} for rule in self.rules.get(key, ()))

    def _is_inherited(self, parts: list[str]) -> bool:
        """Whether it is metadata above the folder of its data: ``task-rest_bold.json`` at the root."""
        name = parse_name(parts[-1])
        folders = [part.partition("-")[0] for part in parts[:-1]]
        suffix = name.suffix if name is not None else parts[-1].partition(".")[0]
        extension = name.extension if name is not None else split_extension(parts[-1])[1]
        if suffix not in self.datatypes_of or extension not in _INHERITED:
            return False
        keys = [key for key, _ in name.entities] if name is not None else []
        return all(key in self.entities for key in keys) and (
            folders in ([], ["sub"], ["sub", "ses"]) or (len(folders) in {2, 3} and parts[-2] in self.datatypes)
        )


@cache
def bids_schema() -> BidsSchema:
    """The schema of the installed bidsschematools."""
    from bidsschematools.rules import regexify_filename_rules  # noqa: PLC0415  # loads YAML and the schema: 80 ms
    from bidsschematools.schema import load_schema  # noqa: PLC0415

    schema: Any = load_schema()
    datatypes_of: dict[str, set[str]] = {}
    rules: dict[str, list[re.Pattern[str]]] = {}
    for family in (schema.rules.files.raw, schema.rules.files.common):
        for group in family.values():
            suffixes = {str(suffix) for rule in group.values() for suffix in rule.get("suffixes", ())}
            for rule in group.values():
                for suffix in rule.get("suffixes", ()):
                    datatypes_of.setdefault(str(suffix), set()).update(map(str, rule.get("datatypes", ())))
            patterns = [re.compile(rule["regex"]) for rule in regexify_filename_rules(group, schema, level=1)]
            for suffix in suffixes or {""}:
                rules.setdefault(suffix, []).extend(patterns)
            if any("stem" in rule or "path" in rule for rule in group.values()):
                rules.setdefault("", []).extend(patterns)
    return BidsSchema(
        version=str(schema.bids_version),
        entities=frozenset(str(entity.name) for entity in schema.objects.entities.values()),
        datatypes=frozenset(map(str, schema.objects.datatypes)) - {"phenotype"},
        datatypes_of={suffix: tuple(sorted(found)) for suffix, found in datatypes_of.items()},
        rules=rules,
    )
