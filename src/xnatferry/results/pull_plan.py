"""Plans a pull: every file of a server with its local path and a decision. Nothing is written."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError
from xnatferry.planning.plan import Decision, OnConflict, Refusal
from xnatferry.results.local_filenames import clashes, path_problem, path_warning
from xnatferry.transfer.payload import file_pieces
from xnatferry.wording import counted, human_bytes
from xnatferry.xnat.digest import digest_of_file
from xnatferry.xnat.gzip_stream import GzipError, content_of
from xnatferry.xnat.model import Address
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from xnatferry.results.remote_files import FileAt, FilesBelow
    from xnatferry.xnat.records import RemoteFile

#: Returns the parts of the path of a file below the folder of a pull.
Layout = Callable[[Address], tuple[str, ...]]

_NO_DIGEST = "size equal; the server lists no MD5"


@dataclass(frozen=True, slots=True)
class PullFile:
    """One file, its local path, and what happens to it.

    Attributes:
        decision: CREATE downloads it, UPDATE replaces a local file, SAME exists, DIFFERS is not changed.
        reason: Why, if the decision alone does not tell.
    """

    address: Address
    held: RemoteFile
    target: Path
    decision: Decision
    reason: str = ""

    @property
    def fetches(self) -> bool:
        """Whether it is downloaded."""
        return self.decision in {Decision.CREATE, Decision.UPDATE}


@dataclass(frozen=True, slots=True)
class PullPlan:
    """All files of one pull.

    Attributes:
        server: Address of the server.
        address: What is pulled.
        folder: The local folder.
        files: In the order of their addresses.
        refusals: Files that cannot be stored on this disk, with reasons.
        warnings: One sentence each.
        on_conflict: What happens to local files that differ.
        free_bytes: Free bytes on the disk of *folder*; None if unknown.
        listed_bytes: Bytes of all files in each resource on the server.
    """

    server: str
    address: Address
    folder: Path
    files: tuple[PullFile, ...]
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    on_conflict: OnConflict = OnConflict.FAIL
    free_bytes: int | None = None
    listed_bytes: Mapping[Address, int] = field(default_factory=dict)

    @property
    def fetched(self) -> tuple[PullFile, ...]:
        """The files that are downloaded."""
        return tuple(file for file in self.files if file.fetches)

    @property
    def fetched_bytes(self) -> int:
        """Their size, as listed."""
        return sum(file.held.size_bytes for file in self.fetched)

    @property
    def refused(self) -> int:
        """Exit code for the refusals; 0 if there are none."""
        return max((refusal.exit_code for refusal in self.refusals), default=0)

    @property
    def conflicts(self) -> tuple[PullFile, ...]:
        """Local files that differ and are not replaced."""
        return tuple(file for file in self.files if file.decision is Decision.DIFFERS)


def files_layout(address: Address) -> tuple[str, ...]:
    """The address itself below the project: ``SUBJECT/SESSION/scans/ID/resources/LABEL/files/PATH``."""
    parts = [label for label in (address.subject, address.session) if label is not None]
    for word in ("scan", "assessor", "resource"):
        label = getattr(address, word)
        if label is not None:
            parts += [f"{word}s", label]
    return (*parts, "files", *(address.file or "").split("/"))


def plan_pull(
    held: FilesBelow,
    folder: Path,
    *,
    server: str,
    address: Address,
    layout: Layout = files_layout,
    on_conflict: OnConflict = OnConflict.FAIL,
    workers: int = 4,
    folds: bool | None = None,
    digests: Callable[[Mapping[Address, int]], Mapping[Address, str]] = lambda _: {},
    listed: Sequence[FileAt] | None = None,
) -> PullPlan:
    """Map every file to its path below *folder*, and compare it with the local file.

    Args:
        held: The files of the server.
        folder: The local folder; need not exist.
        server: Address of the server, for messages.
        address: What is pulled.
        layout: Returns the path of each file below *folder*.
        on_conflict: FAIL, SKIP or OVERWRITE.
        workers: How many local files are read at the same time.
        folds: Whether the disk ignores the case of names; None checks it.
        digests: Finds digests of listed files, given with their sizes, whose local file has the same size.
        listed: All files on the server, if *held* are only some of them.
    """
    places = {one.address: layout(one.address) for one in held.files}
    clashing = clashes((places[one.address] for one in held.files), folds=_folds(folder) if folds is None else folds)
    inside = _Inside(folder)
    refusals = list(held.unplaced)
    kept: list[tuple[FileAt, Path]] = []
    for one in held.files:
        parts = places[one.address]
        why = path_problem(parts, windows=os.name == "nt") or clashing.get(parts) or inside.problem(parts)
        if why is not None:
            refusals.append(Refusal(str(one.address), (why,), folder, one.address))
        else:
            kept.append((one, folder.joinpath(*parts)))
    files = list(thread_map(lambda pair: _compared(pair[0], pair[1], on_conflict), kept, workers=workers))
    if unsure := {file.address: file.held.size_bytes for file in files if file.reason == _NO_DIGEST}:
        known = digests(unsure)
        again = [
            replace(one, file=replace(one.file, digest=known.get(one.address, one.file.digest))) for one, _ in kept
        ]
        files = [
            _compared(one, file.target, on_conflict) if one.address in known else file
            for one, file in zip(again, files, strict=True)
        ]
    free = _free_bytes(folder)
    sizes: Counter[Address] = Counter()
    for one in held.files if listed is None else listed:
        sizes[replace(one.address, file=None)] += one.file.size_bytes
    plan = PullPlan(
        server, address, folder, tuple(files), tuple(refusals), (), on_conflict, free_bytes=free, listed_bytes=sizes
    )
    return replace(plan, warnings=tuple(_warnings(plan, places.values(), free)))


def check_pullable(plan: PullPlan) -> None:
    """Check that a pull can be carried out.

    Raises:
        ConflictError: Local files differ and the policy is to fail, or a folder has the path of a file.
    """
    if plan.conflicts and plan.on_conflict is OnConflict.FAIL:
        first = plan.conflicts[0]
        raise ConflictError(
            f"{counted(len(plan.conflicts), 'local file', 'differ')} from the server (first: {first.target}: "
            f"{first.reason}); nothing was written; use --on-conflict skip or overwrite"
        )
    blocked = [file for file in plan.conflicts if plan.on_conflict is OnConflict.OVERWRITE]
    if blocked:
        raise ConflictError(f"{blocked[0].target}: {blocked[0].reason}; nothing was written, remove or rename it")


def _compared(one: FileAt, target: Path, on_conflict: OnConflict) -> PullFile:
    decision, reason, replaceable = _decide(target, one.file)
    if decision is Decision.DIFFERS and on_conflict is OnConflict.OVERWRITE and replaceable:
        decision = Decision.UPDATE
    elif decision is Decision.DIFFERS and on_conflict is OnConflict.SKIP:
        reason += "; not changed"
    return PullFile(one.address, one.file, target, decision, reason)


def _decide(target: Path, held: RemoteFile) -> tuple[Decision, str, bool]:
    """Decision, reason, and whether the local file can be replaced."""
    try:
        there = target.stat()
    except FileNotFoundError:
        if target.is_symlink():
            return Decision.DIFFERS, "a broken link with this name exists", True
        return Decision.CREATE, "", True
    except NotADirectoryError:
        return Decision.DIFFERS, "a part of its path is a file, not a folder", False
    except OSError as error:
        return Decision.DIFFERS, f"cannot be read ({error.strerror})", False
    if not target.is_file():
        return Decision.DIFFERS, "a folder or device with this name exists", False
    if there.st_size != held.size_bytes:
        return Decision.DIFFERS, f"{there.st_size:,} bytes local, {held.size_bytes:,} on the server", True
    if held.digest is None and held.content_digest is None:
        return Decision.SAME, _NO_DIGEST, True
    try:
        if held.digest is not None:
            same = digest_of_file(target) == held.digest
        else:
            same = content_of(file_pieces(target)).digest == held.content_digest
    except GzipError as error:
        return Decision.DIFFERS, str(error), True
    except OSError as error:
        return Decision.DIFFERS, f"cannot be read ({error.strerror})", True
    return (Decision.SAME, "", True) if same else (Decision.DIFFERS, "content differs", True)


class _Inside:
    """Detects folders below a root that are links to the outside."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = root.resolve()
        self._known: dict[tuple[str, ...], bool] = {}

    def problem(self, parts: tuple[str, ...]) -> str | None:
        above = parts[:-1]
        if above not in self._known:
            try:
                self._known[above] = self._root.joinpath(*above).resolve().is_relative_to(self._real)
            except OSError:  # a cycle of links
                self._known[above] = False
        return None if self._known[above] else f"{'/'.join(above)} is a link to a folder outside of {self._root}"


def _folds(folder: Path) -> bool:
    """Whether the disk of *folder* ignores the case of names; checked without writing."""
    for path in (folder, *folder.absolute().parents):
        other = path.with_name(path.name.swapcase()) if path.name else path
        if path.exists() and other.name != path.name:
            try:
                return other.samefile(path)
            except OSError:
                return False
    return os.name == "nt"


def _free_bytes(folder: Path) -> int | None:
    for path in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(path).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def _warnings(plan: PullPlan, places: Iterable[tuple[str, ...]], free_bytes: int | None) -> Iterable[str]:
    odd = [why for parts in places if (why := path_warning(parts)) is not None]
    if odd and os.name != "nt":
        yield f"{counted(len(odd), 'name')} cannot be used on Windows (first: {odd[0]})"
    clashing = set(clashes((place for place in places), folds=True)) - set(clashes(places, folds=False))
    if clashing and not plan.refusals:
        first = "/".join(min(clashing))
        yield f"{counted(len(clashing), 'name', 'differ')} from another one only in case, such as {first}"
    if free_bytes is not None and plan.fetched_bytes > free_bytes:
        yield f"{plan.folder}: only {human_bytes(free_bytes)} free, {human_bytes(plan.fetched_bytes)} to download"
