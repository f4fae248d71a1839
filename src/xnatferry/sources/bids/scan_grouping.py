"""Which file of a dataset belongs to which scan, session or subject.

One NIfTI stem, or one recording, is one scan. Its image goes to the resource ``NIFTI`` (with its gradient tables), a
recording to ``EEG``, ``MEG`` ..., its own sidecar and its events, physiology and the like to ``BIDS``, sidecars of
those to ``BIDS_EXTRA``: other tools expect one image in ``NIFTI`` and one JSON file in ``BIDS``. What several scans
share goes to the session, the subject or the project.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xnatferry.sources.bids.names import BidsName, BidsSchema, parse_name
from xnatferry.sources.folder_walk import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xnatferry.sources.bids.tree import Ignored
    from xnatferry.sources.folder_walk import Entry

BIDS: Final = "BIDS"
EXTRA: Final = "BIDS_EXTRA"

_IMAGES: Final = (".nii.gz", ".nii")
#: Images that BIDS does not know: nothing of another name describes them.
_FOREIGN: Final = (".hdr", ".img", ".mgz", ".mnc")
_GRADIENTS: Final = (".bval", ".bvec")
#: Datatypes whose recordings are named after them, and end in anything but these.
_RECORDINGS: Final = frozenset({"eeg", "meg", "ieeg", "nirs", "emg"})
_BESIDE: Final = (".json", ".tsv", ".tsv.gz", ".bval", ".bvec", ".txt", ".dat")
_PICTURES: Final = (".ome.tif", ".ome.btf", ".ome.zarr", ".png", ".tif")
#: Suffixes of files that belong to a whole session.
_OF_SESSION: Final = frozenset({"coordsystem", "electrodes", "optodes", "headshape", "photo", "scans"})
#: Entities that a companion and its image need not share.
_LOOSE: Final = ("recording", "desc", "echo", "part", "split")
#: Suffixes that a companion describes rather than others in the same folder.
_PREFERRED: Final[Mapping[str, tuple[str, ...]]] = {
    "aslcontext": ("asl",),
    "asllabeling": ("asl",),
    "blood": ("pet",),
    "events": ("bold", "cbv", "meg", "eeg", "ieeg", "nirs", "motion", "emg", "pet"),
    "physio": ("bold", "cbv", "asl", "dwi", "pet"),
    "stim": ("bold", "cbv"),
}
#: Order of scans within a session.
_ORDER: Final = (
    *("anat", "fmap", "func", "dwi", "perf", "mrs", "pet", "meg", "eeg", "ieeg", "nirs", "emg", "motion"),
    *("micr", "beh"),
)


@dataclass(slots=True)
class Part:
    """The files of one folder ``sub-X`` or ``sub-X/ses-Y``.

    Attributes:
        subject: Bare label.
        session: Bare label; None where the dataset has no sessions.
        entries: All its files.
    """

    subject: str
    session: str | None
    entries: list[Entry] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """Its path below the root."""
        return f"sub-{self.subject}" + (f"/ses-{self.session}" if self.session is not None else "")

    def inside(self, entry: Entry) -> str:
        """The path of one of its files below it."""
        return entry.relative.removeprefix(f"{self.folder}/")


@dataclass(frozen=True, slots=True)
class Kept:
    """One file with its resource and its name there."""

    entry: Entry
    resource: str
    name: str


@dataclass(slots=True)
class Unit:
    """One scan: an image or a recording with its companions.

    Attributes:
        key: Its path without extension; the same at every push.
        datatype: ``func``.
        folder: Where it is, relative to the root.
        name: Its name, taken apart.
        data: The image, or the files of the recording.
        kept: Every file with its resource.
    """

    key: str
    datatype: str
    folder: str
    name: BidsName
    data: list[Entry] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    @property
    def resource(self) -> str:
        """The resource of its data."""
        return "NIFTI" if self.is_image else self.datatype.upper()

    @property
    def is_image(self) -> bool:
        """Whether it is a NIfTI image."""
        return self.name.extension in _IMAGES

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key among the scans of a session without times."""
        place = _ORDER.index(self.datatype) if self.datatype in _ORDER else len(_ORDER)
        return (place, natural_key(self.key))


def parts_of(entries: Iterable[Entry]) -> tuple[list[Part], list[Entry]]:
    """Files by subject and session, in order, and those that belong to none.

    A file in ``sub-X`` itself belongs to the part without a session, whether the subject has sessions or not.
    """
    parts: dict[tuple[str, str | None], Part] = {}
    others: list[Entry] = []
    for entry in entries:
        steps = entry.relative.split("/")
        if not steps[0].startswith("sub-") or len(steps) < 2 or steps[0] == "sub-":
            others.append(entry)
            continue
        session = steps[1][4:] if steps[1].startswith("ses-") and len(steps) > 2 and len(steps[1]) > 4 else None
        key = (steps[0][4:], session)
        parts.setdefault(key, Part(*key)).entries.append(entry)
    return list(parts.values()), others


def units_of(part: Part, schema: BidsSchema, ignored: Ignored) -> tuple[list[Unit], list[Entry]]:
    """The scans of a part with their data, in order, and all its other files."""
    units: dict[str, Unit] = {}
    others: list[Entry] = []
    for entry in part.entries:
        steps = part.inside(entry).split("/")
        name = parse_name(steps[1]) if len(steps) > 1 and steps[0] in schema.datatypes else None
        if name is None or ignored.matches(entry.relative) or not _is_data(name, steps, schema):
            others.append(entry)
            continue
        whole = _without_split(name)
        folder = f"{part.folder}/{steps[0]}"
        unit = units.setdefault(f"{folder}/{whole.stem}", Unit(f"{folder}/{whole.stem}", steps[0], folder, whole))
        unit.data.append(entry)
        unit.kept.append(Kept(entry, unit.resource, "/".join(steps[1:])))
    return sorted(units.values(), key=lambda unit: unit.order), others


def _is_data(name: BidsName, steps: Sequence[str], schema: BidsSchema) -> bool:
    """Whether a file in a datatype folder is an image, or a recording or a part of one."""
    datatype = steps[0]
    if len(steps) > 2:  # formats that are folders: .ds, .mefd, .ome.zarr, BTi
        return schema.allows(f"sub-x/{datatype}/{steps[1]}/") or _is_folder_format(name, datatype)
    if name.extension in _IMAGES:
        return True
    if datatype in _RECORDINGS:
        return name.suffix == datatype and name.extension not in _BESIDE and name.label("acq") != "crosstalk"
    if datatype == "motion":
        return name.suffix == "motion" and name.extension == ".tsv"
    return datatype == "micr" and name.extension in _PICTURES and name.suffix != "photo"


def _is_folder_format(name: BidsName, datatype: str) -> bool:
    return (datatype in _RECORDINGS and name.suffix == datatype) or name.extension == ".ome.zarr"


def companions_of(units: Sequence[Unit], others: Iterable[Entry], part: Part, ignored: Ignored) -> list[Entry]:
    """Assign companion files to their scans; returns the files that belong to no scan."""
    by_key = {unit.key: unit for unit in units}
    owners: dict[str, Unit] = {}
    waiting: list[tuple[Entry, BidsName]] = []
    left: list[Entry] = []
    for entry in others:
        steps = part.inside(entry).split("/")
        name = parse_name(entry.name)
        if len(steps) != 2 or name is None or ignored.matches(entry.relative):
            left.append(entry)
        elif name.extension == ".json":
            waiting.append((entry, name))
        elif (unit := _owner(by_key, units, entry, name)) is not None:
            unit.kept.append(Kept(entry, unit.resource if name.extension in _GRADIENTS else BIDS, entry.name))
            owners[f"{entry.folder}/{name.stem}"] = unit
        else:
            left.append(entry)
    for entry, name in waiting:
        own = by_key.get(_key(entry, name))
        if own is not None:
            first = not any(kept.resource == BIDS and kept.name.endswith(".json") for kept in own.kept)
            own.kept.append(Kept(entry, BIDS if first else EXTRA, entry.name))
        elif (unit := owners.get(f"{entry.folder}/{name.stem}")) is not None:
            unit.kept.append(Kept(entry, EXTRA, entry.name))
        else:
            left.append(entry)
    return left


def _key(entry: Entry, name: BidsName) -> str:
    return f"{entry.folder}/{_without_split(name).stem}"


def _without_split(name: BidsName) -> BidsName:
    """The name that the parts of one recording have in common."""
    return BidsName(tuple(pair for pair in name.entities if pair[0] != "split"), name.suffix, name.extension)


def _owner(by_key: Mapping[str, Unit], units: Sequence[Unit], entry: Entry, name: BidsName) -> Unit | None:
    """The scan that a file other than a sidecar belongs to."""
    own = by_key.get(_key(entry, name))
    if own is not None or name.extension in (*_GRADIENTS, *_IMAGES, *_FOREIGN):
        return own
    if name.suffix in _OF_SESSION:
        return None
    same = [
        unit for unit in units if unit.folder == entry.folder and unit.name.without(*_LOOSE) == name.without(*_LOOSE)
    ]
    preferred = _PREFERRED.get(name.suffix, ())
    return min(same, key=lambda unit: _preference(unit, preferred), default=None)


def _preference(unit: Unit, preferred: Sequence[str]) -> tuple[object, ...]:
    """The suffix that is meant first, the first echo before others, the magnitude before the phase."""
    suffix = unit.name.suffix
    echo = unit.name.label("echo") or "0"
    return (
        preferred.index(suffix) if suffix in preferred else len(preferred) + (suffix == "sbref"),
        int(echo) if echo.isdecimal() else 0,
        unit.name.label("part") not in {None, "mag"},
        unit.order,
    )


def duplicates_in(unit: Unit) -> list[str]:
    """Names of images that share the unit's stem, when there are several: ``.nii`` beside ``.nii.gz``."""
    names = [entry.name for entry in unit.data]
    return names if unit.is_image and len(names) > 1 and not any("split-" in name for name in names) else []
