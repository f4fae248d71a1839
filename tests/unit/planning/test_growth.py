"""Planning takes as much work for each session of a large project as for one of a small one.

Counted in lines that the interpreter runs, loops included; memory in bytes that Python holds. No clock is asked.
"""

import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from xnatferry.console.plan_view import plan_lines
from xnatferry.planning.mapping import map_sources
from xnatferry.planning.placement import MappingRules
from xnatferry.planning.plan import Decision, Payload, Plan, Step, in_tree_order
from xnatferry.planning.plan_file import read_plan, write_plan
from xnatferry.planning.plan_validation import validate_plan
from xnatferry.planning.reconcile import reconcile
from xnatferry.planning.remote_state import Fingerprint, HeldFile, RemoteSession, RemoteState
from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Claims, Kind, LocalFile, Source
from xnatferry.xnat.model import Address, Level

DIGEST = "0" * 32


def image(subject):
    local = LocalFile(Path(f"/in/{subject}/t1.nii"), "t1.nii", 5, 0, digest=DIGEST)
    attributes = {"parameters/matrix/x": "256"}
    return Source(Kind.NIFTI, local.path, f"{subject}/t1.nii", (local,), Claims(subject=subject), attributes=attributes)


def notes(subject):
    """A resource of the subject itself."""
    local = LocalFile(Path(f"/in/{subject}/notes.txt"), "notes.txt", 5, 0, digest=DIGEST)
    claims = Claims(subject=subject, resource="NOTES")
    return Source(Kind.FILES, local.path, f"{subject}/notes.txt", (local,), claims, level=Level.SUBJECT)


def planned(number, *, there):
    """The plan of so many sessions, onto an empty server or one that holds them all with other bytes in between."""
    subjects = [f"s{index}" for index in range(number)]
    mapped = map_sources([one(subject) for subject in subjects for one in (image, notes)], MappingRules("P"))
    assert not mapped.refusals
    state = RemoteState("http://x", project_exists=False)
    held = HeldFile(5, DIGEST)
    if there:
        scan = {("1", "NIFTI", "t1.nii"): held}
        sessions = {f"{s}_MR1": RemoteSession(s, "xnat:mrSessionData", {"1": {}}, scan) for s in subjects}
        own = {(s, "NOTES"): {"notes.txt": held} for s in subjects}
        state = RemoteState(
            "http://x", project_exists=True, subjects=frozenset(subjects), sessions=sessions, own_files=own
        )
    known = lambda file, _: Fingerprint(file.size_bytes, DIGEST)  # noqa: E731
    plan = reconcile(mapped, state, project="P", fingerprint=known, read_content=None)
    assert {step.decision for step in plan.steps} == {Decision.SAME if there else Decision.CREATE}
    return validate_plan(plan, state, fingerprint=known, read_content=None)


def lines_of(act):
    """How many lines of Python *act* runs."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("there", [False, True])
def test_a_plan_ten_times_as_large_is_ten_times_the_work(there):
    planned(2, there=there)  # what is read once and kept
    small, large = (lines_of(lambda n=n: planned(n, there=there)) for n in (20, 200))
    assert large < 10.5 * small


def many_steps(number):
    for index in range(number):
        session = Address("P", f"s{index}", f"s{index}_MR1", scan="1", resource="NIFTI")
        local = LocalFile(Path(f"/in/s{index}/t1.nii"), "t1.nii", 5, 0)
        fields = {"format": "NIFTI", "content": "IMAGE"}
        yield Step(session.child(Level.FILE, "t1.nii"), Decision.CREATE, fields=fields, payload=Payload(local))


def peak_of(act):
    """Bytes that *act* held at most, beside what was there.

    Tables that the whole interpreter shares (interned strings) grow now and then by a leap, whoever is the last to add
    to them; so limits leave a half more than is needed.
    """
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = act()
        return tracemalloc.get_traced_memory()[1] - before, kept
    finally:
        tracemalloc.stop()


def test_steps_are_sorted_without_a_copy_of_their_labels_for_each():
    steps = [
        replace(step, address=replace(step.address, file=str(file))) for step in many_steps(500) for file in range(10)
    ]
    taken, ordered = peak_of(lambda: in_tree_order(reversed(steps)))
    assert len(ordered) == len(steps)
    assert taken < 100 * len(steps)


def test_a_plan_is_stored_without_a_second_copy_of_it_and_read_as_it_was(tmp_path):
    number = 5_000
    plan = Plan("http://x", "P", tuple(many_steps(number)))
    path = tmp_path / "plan.json"
    write_plan(plan, path, made="2026-01-31T12:00:00Z")  # what is imported and compiled once
    written, _ = peak_of(lambda: write_plan(plan, path, made="2026-01-31T12:00:00Z"))
    assert written < 10 * number
    held = read_plan(path)  # its labels are in the table of interned strings: a second reading adds none to it
    taken, again = peak_of(lambda: read_plan(path))
    assert held == again == plan
    assert taken < 850 * number
    assert len({id(step.fields) for step in again.steps}) == 1, "equal fields are kept once"


def test_a_plan_is_shown_without_a_list_of_what_every_object_holds():
    number = 2_000
    steps = []
    for step in many_steps(number):
        resource = step.address.parent
        scan, session = resource.container, resource.container.parent
        steps += [Step(one, Decision.CREATE) for one in (session.parent, session, scan, resource)] + [step]
    plan = Plan("http://x", "P", (Step(Address("P"), Decision.CREATE), *steps))
    taken, lines = peak_of(lambda: [line.plain for line in plan_lines(plan)])
    assert lines[0] == "+ P  2,000 files, 10.0 kB"
    assert lines[-1] == "    … 1,975 more sessions (1975 +), 1,975 files, 9.9 kB; -v shows all"
    assert taken < 50 * number


IMAGES = 5


def dataset(root, sessions):
    """So many sessions of five images with sidecars, which all say the same but for a number."""
    head = nibabel.Nifti1Image(np.zeros((2, 2, 2), "int16"), np.eye(4)).to_bytes()
    for session in range(sessions):
        folder = root / f"sub-{session:04}"
        folder.mkdir(parents=True)
        for scan in range(IMAGES):
            (folder / f"run{scan}.nii").write_bytes(head[:148] + b"%04d%04d" % (session, scan) + head[156:])
            (folder / f"run{scan}.json").write_text(f'{{"SeriesNumber": {scan + 1}}}')
    return root


def bytes_a_file(root, sessions):
    """Bytes of memory for each file: of what is discovered, and most of all while it is planned."""
    source = dataset(root / str(sessions), sessions)
    files = 2 * IMAGES * sessions
    empty = RemoteState("http://x", project_exists=False)

    def plan():
        mapped = map_sources(discovery.sources, MappingRules("P"))
        return reconcile(
            mapped, empty, project="P", fingerprint=lambda *_: None, read_content=None, findings=discovery.all_findings
        )

    tracemalloc.start()
    try:
        discovery = discover(source, workers=1)
        found = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()  # what is read of files at a time does not grow with their number
        planned = plan()
        assert len(planned.files) == files
        return found / files, tracemalloc.get_traced_memory()[1] / files
    finally:
        tracemalloc.stop()


def test_a_planned_file_takes_as_little_memory_in_a_large_source_as_in_a_small_one(tmp_path):
    bytes_a_file(tmp_path, 1)  # what is imported and read once
    small, large = (bytes_a_file(tmp_path, sessions) for sessions in (15, 45))
    assert large[0] < 1_700
    assert large[1] < 3_500
    assert all(of_large < 1.4 * of_small for of_small, of_large in zip(small, large, strict=True))
