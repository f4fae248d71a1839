"""Runs the probes one after the other, then removes their data; contains the table of probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING

from xnatferry import __version__
from xnatferry.errors import NotFoundError, XnatferryError
from xnatferry.selftest import data_probes, site_probes
from xnatferry.selftest.site import Site
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from xnatferry.client.remote import Remote


@dataclass(frozen=True, slots=True)
class Probe:
    """One check.

    Attributes:
        name: Its name.
        run: Runs it; returns the result, raises an error if it failed.
        consequence: The consequence for the user if it failed.
        needed: Whether xnatferry depends on it.
    """

    name: str
    run: Callable[[Site], str]
    consequence: str
    needed: bool = True


PROBES = (
    Probe("version", site_probes.version, "Differences of this version are not known.", needed=False),
    Probe("plugins", site_probes.plugins, "Data types of plugins are not known.", needed=False),
    Probe(
        "rights", site_probes.rights, "Only owners can remove subjects, so an undo may not remove them.", needed=False
    ),
    Probe(
        "session types",
        site_probes.session_types,
        "Sessions of these types are stored, but are missing in listings and cannot be removed. "
        "Ask an administrator to set up the types.",
        needed=False,
    ),
    Probe("push", data_probes.push, "Do not push to this server."),
    Probe(
        "resource format", data_probes.resource_format, "Programs that search for NIFTI resources may not find them."
    ),
    Probe(
        "upload limit",
        site_probes.upload_limit,
        "A proxy limits uploads. Use --max-body, or raise the limit of the proxy.",
    ),
    Probe("conflict", data_probes.conflict, "Do not push to this server: files could be replaced."),
    Probe(
        "interrupted push",
        data_probes.interrupted,
        "After an interruption, a part of a file can be listed as the file. Push again with --on-conflict overwrite.",
    ),
    Probe("pull", data_probes.pull, "Pulls of many small files are slow."),
    Probe("names", data_probes.names, "Use only letters, digits, '.', '_' and '-' in file names."),
    Probe(
        "fields and dates",
        data_probes.dates,
        "Check dates and fields; a push reports each field that the server changed.",
    ),
    Probe(
        "undo", data_probes.undone, "An undo does not remove all objects; an owner or administrator must remove them."
    ),
    Probe("custom fields", data_probes.custom_fields, "Custom fields cannot be used.", needed=False),
    Probe(
        "projects of a session",
        data_probes.sharing,
        "Shared sessions cannot be distinguished from others.",
        needed=False,
    ),
    Probe(
        "concurrent writers",
        data_probes.concurrency,
        "xnatferry uses one connection per resource; do not let other programs write to the same resource.",
        needed=False,
    ),
)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of one probe.

    Attributes:
        name: Name of the probe.
        passed: Whether it passed.
        result: What it found.
        consequence: The consequence for the user; empty if it passed.
        needed: Whether xnatferry depends on it.
    """

    name: str
    passed: bool
    result: str
    consequence: str
    needed: bool


@dataclass(slots=True)
class SelfTest:
    """The results of a self-test.

    Attributes:
        facts: Facts about the server.
        results: In the order of the probes.
        not_removed: Objects that could not be removed.
    """

    facts: dict[str, str] = field(default_factory=dict)
    results: list[ProbeResult] = field(default_factory=list)
    not_removed: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 if all needed probes passed and everything was removed, else 1."""
        return int(bool(self.not_removed) or any(result.needed and not result.passed for result in self.results))

    def to_dict(self) -> dict[str, object]:
        """The JSON record; it contains no secrets."""
        return {
            "record": "selftest",
            "xnatferry": __version__,
            "facts": self.facts,
            "probes": [
                {name: getattr(result, name) for name in ("name", "passed", "needed", "result", "consequence")}
                for result in self.results
            ],
            "not_removed": self.not_removed,
            "exit_code": self.exit_code,
        }


def run_selftest(
    remote: Remote,
    project: str,
    folder: Path,
    *,
    probes: Sequence[Probe] = PROBES,
    seen: Callable[[ProbeResult], None] = lambda _: None,
) -> SelfTest:
    """Run all probes, then remove their data.

    Args:
        remote: The server.
        project: A scratch project; if it does not exist, it is created, and removed at the end.
        folder: A local folder for test data.
        probes: The probes.
        seen: Called with each result.

    Raises:
        RemoteError: The server cannot be reached, or the project cannot be created.
    """
    prefix = f"selftest{token_hex(3)}"
    made = remote.ensure_project(project).created
    site = Site(remote, project, folder, prefix)
    test = SelfTest(site.facts)
    try:
        for probe in probes:
            try:
                result = ProbeResult(
                    probe.name, passed=True, result=probe.run(site), consequence="", needed=probe.needed
                )
            except XnatferryError as error:
                result = ProbeResult(
                    probe.name, passed=False, result=str(error), consequence=probe.consequence, needed=probe.needed
                )
            test.results.append(result)
            seen(result)
    finally:
        test.not_removed += _removed(remote, project, prefix, whole=made)
    return test


def _removed(remote: Remote, project: str, prefix: str, *, whole: bool) -> list[str]:
    """Remove the objects of the test; returns those that could not be removed."""
    try:
        subjects = [Address(project, row["label"]) for row in remote.list_subjects(project)]
    except XnatferryError as error:
        return [f"{project}: {error}"]
    left = []
    mine = [subject for subject in subjects if (subject.subject or "").startswith(prefix)]
    for address in [*mine, *([Address(project)] if whole and len(mine) == len(subjects) else [])]:
        try:
            remote.remove(address, remove_files=True)
        except NotFoundError:
            continue
        except XnatferryError as error:
            left.append(f"{address}: {error}")
    return left
