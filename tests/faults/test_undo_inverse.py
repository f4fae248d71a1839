"""The state of the server after a push and its undo is the state before, whatever was there and whatever was pushed."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xnatferry import api
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.planning.mapping import MappingRules
from xnatferry.transfer.backup import back_up
from xnatferry.transfer.engine import carry_out
from xnatferry.transfer.journal import Journal
from xnatferry.transfer.receipt_upload import record_on_server
from xnatferry.transfer.sharded_runs import find_run
from xnatferry.transfer.undo_run import plan_of, undo
from xnatferry.xnat.model import Address, Level

numbers = count(1)
SUBJECTS, IMAGES = ("ann", "bob", "cid"), ("T1w", "T2w", "bold")

#: Which images there are, and with which of two contents; how a scan is judged.
folders = st.dictionaries(st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(IMAGES)), st.integers(0, 1), max_size=6)
qualities = st.sampled_from(["usable", "questionable"])


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    from xnatferry.server.archive import running_archive

    with (
        running_archive(tmp_path_factory.mktemp("archive"), admin_password="admin-secret") as running,
        Remote(Connection(running.url, "admin", Secret("admin-secret"))) as remote,
    ):
        yield remote


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Bytes of two images each."""
    import nibabel
    import numpy as np

    folder, found = tmp_path_factory.mktemp("samples"), {}
    for seed, (subject, kind, content) in enumerate((s, k, c) for s in SUBJECTS for k in IMAGES for c in (0, 1)):
        voxels = np.random.default_rng(seed).integers(0, 99, (3, 4, 5)).astype("int16")
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / "i.nii.gz")
        found[subject, kind, content] = (folder / "i.nii.gz").read_bytes()
    return found


def write(root, images, samples):
    for (subject, kind), content in images.items():
        path = root / subject / f"{kind}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(samples[subject, kind, content])
    return root


def state(remote, project):
    """Everything of a project that is not the server's own number or date."""
    if remote.item(Address(project)) is None:
        return None
    found = {row["label"]: "" for row in remote.list_subjects(project)}
    tops = [Address(project), *(Address(project, label) for label in list(found))]
    for row in remote.list_sessions(project):
        session = Address(project, row["subject_label"], row["label"])
        tops.append(session)
        found[str(session)] = row["xsiType"]
        for scan in remote.list_scans(session):
            tops.append(session.child(Level.SCAN, scan["ID"]))
            found[str(tops[-1])] = (scan["type"], scan["quality"], scan["series_description"])
    for top in tops:
        for resource in remote.list_resources(top):
            address = top.child(Level.RESOURCE, resource["label"])
            found[str(address)] = resource["file_count"]
            for file in remote.list_files(address):
                found[f"{address}/{file.name}"] = (file.size_bytes, file.digest)
    return found


def push(remote, root, project, runs, *, quality, record=False):
    """A push that may replace files and change fields, with its journal; the run's name, or None when nothing was to do."""
    plan = api.plan(
        api.discover(root),
        remote,
        MappingRules(project=project, quality=quality),
        on_conflict=api.OnConflict.OVERWRITE,
        update_fields=True,
    )
    if plan.nothing_to_do:
        return None
    with Journal.begin(runs, "push", {"project": project}, plan=plan) as journal:
        back_up(plan, remote, journal)
        result = carry_out(plan, remote, journal=journal)
        assert result.exit_code == 0, result
        if record:
            record_on_server(result, {}, project, remote, journal)
        journal.end(0)
    return journal.name


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=folders, after=folders, first=qualities, second=qualities, record=st.booleans())
def test_undo_is_the_inverse_of_push(remote, samples, tmp_path_factory, before, after, first, second, record):
    project, folder = f"U{next(numbers)}", tmp_path_factory.mktemp("push")
    if before:
        push(remote, write(folder / "before", before, samples), project, folder / "runs", quality=first)
    there = state(remote, project)
    if not after:
        return
    name = push(
        remote, write(folder / "after", after, samples), project, folder / "runs", quality=second, record=record
    )
    if name is None:
        assert state(remote, project) == there
        return
    assert state(remote, project) != there
    effects = find_run(folder / "runs", name).effects()
    receipts = undo(plan_of(effects, remote, project, remove_project=True), remote)
    assert [receipt for receipt in receipts if receipt.exit_code] == []
    assert state(remote, project) == there
