"""Results of pipelines: ``derivatives/PIPELINE/...``, resources of the sessions it is about."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from xnatferry.sources.bids.inheritance import read_object
from xnatferry.xnat.labels import clean_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xnatferry.sources.folder_walk import Entry

#: Subject, session, and whether there is a session; see `place_of`.
Whose: TypeAlias = tuple[str | None, str | None, bool]

#: Labels that have another meaning here.
_RESERVED: Final = frozenset(
    {"BIDS", "BIDS_EXTRA", "BIDS_MANIFEST", "BIDS_VALIDATION", "NIFTI", "SOURCEDATA", "SNAPSHOTS", "DICOM"}
)
_SUBJECT: Final = re.compile(r"sub-([^_/.]+)(?:_ses-([^_/.]+))?")
_SESSION: Final = re.compile(r"ses-([^_/.]+)$")


@dataclass(slots=True)
class Pipeline:
    """The results of one pipeline.

    Attributes:
        folder: ``derivatives/fmriprep``; ``derivatives`` for results of subjects beside such folders; empty for a
            dataset that holds nothing but its results.
        label: Its resource, ``FMRIPREP``.
        version: Version in its description.
        entries: All its files.
    """

    folder: str
    label: str = ""
    version: str = ""
    entries: list[Entry] = field(default_factory=list)

    def inside(self, entry: Entry) -> str:
        """The path of one of its files below its folder."""
        return entry.relative.removeprefix(f"{self.folder}/") if self.folder else entry.relative

    @property
    def own_label(self) -> str:
        """What its folder is called, as a label."""
        return _label(self.folder.rpartition("/")[2])


def pipelines_of(entries: Iterable[Entry]) -> list[Pipeline]:
    """Files below ``derivatives/`` by pipeline, each with a resource label of its own.

    The label is the name that ``GeneratedBy`` gives, where no other pipeline has the same; else that of the folder.
    """
    found: dict[str, Pipeline] = {}
    for entry in entries:
        first, second, *_ = entry.relative.split("/")
        # Without a folder of its pipeline, derivatives/sub-01 belongs to that subject.
        folder = first if _SUBJECT.match(second) else f"{first}/{second}"
        found.setdefault(folder, Pipeline(folder)).entries.append(entry)
    names = {folder: _named(pipeline) for folder, pipeline in found.items()}
    often = Counter(names.values())
    taken: set[str] = set()
    for folder, pipeline in found.items():
        own = pipeline.own_label
        label = names[folder] if names[folder] and often[names[folder]] == 1 else own
        pipeline.label = label if label not in _RESERVED | taken else f"DERIVATIVES_{own}"
        number = 2
        while pipeline.label in taken:
            pipeline.label = f"DERIVATIVES_{own}_{number}"
            number += 1
        taken.add(pipeline.label)
    return list(found.values())


def whole_pipeline(name: str, entries: Iterable[Entry]) -> Pipeline:
    """A dataset called *name* that is one pipeline's results (``DatasetType`` derivative)."""
    pipeline = Pipeline("", entries=list(entries))
    label = _named(pipeline) or _label(name)
    pipeline.label = label if label and label not in _RESERVED else f"DERIVATIVES_{label}".rstrip("_")
    return pipeline


def _named(pipeline: Pipeline) -> str:
    """The label by ``GeneratedBy``; sets the version as it goes."""
    own = (entry for entry in pipeline.entries if pipeline.inside(entry) == "dataset_description.json")
    description = next(own, None)
    if description is None:
        return ""
    generators = read_object(description)[0].get("GeneratedBy")
    first = generators[0] if isinstance(generators, list) and generators else {}
    if not isinstance(first, dict):
        return ""
    pipeline.version = str(first.get("Version", ""))
    return _label(str(first.get("Name", "")))


def _label(name: str) -> str:
    return clean_label(name).upper()[:48]


def place_of(inside: str, sessions: Mapping[str, set[str | None]]) -> Whose:
    """Whose a derivative is, by its path inside the pipeline's folder.

    Args:
        inside: ``sub-01/ses-02/func/...``, ``sub-01.html``, ``sub-01_ses-02/stats/...``.
        sessions: Sessions of each subject of the dataset; a subject without sessions has the one session None.

    Returns:
        Subject, session, and whether there is a session: all of a subject's results belong to its only session. A
        subject that the dataset does not have is None: pipelines make no subjects.
    """
    first, _, rest = inside.partition("/")
    found = _SUBJECT.match(first)
    if found is None or found[1] not in sessions:
        return None, None, False
    subject, session = found[1], found[2]
    second = _SESSION.match(rest.partition("/")[0])
    if session is None and second is not None and "/" in rest:
        session = second[1]
    known = sessions[subject]
    if session in known:
        return subject, session, True
    if session is None and len(known) == 1:
        return subject, next(iter(known)), True
    return subject, None, False


def grouped(pipeline: Pipeline, sessions: Mapping[str, set[str | None]]) -> dict[Whose, list[Entry]]:
    """The files of a pipeline by `place_of`."""
    groups: dict[Whose, list[Entry]] = defaultdict(list)
    for entry in pipeline.entries:
        groups[place_of(pipeline.inside(entry), sessions)].append(entry)
    return groups
