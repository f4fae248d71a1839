"""Files that are compressed on the way are known by their content: by whom and how they were compressed is nothing.

Another computer has another compressor. Real ones stand in for it: zlib at other levels, one of which only stores.
"""

import gzip
import hashlib
import os
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

import xnatferry
from xnatferry import api
from xnatferry.errors import ConflictError, FileChangedError
from xnatferry.planning.mapping import MappingRules
from xnatferry.planning.plan import Decision, OnConflict, Payload
from xnatferry.planning.plan_file import read_plan, write_plan
from xnatferry.results.bids_export import plan_bids_pull
from xnatferry.results.pull_run import fetch_all
from xnatferry.server.archive import running_archive
from xnatferry.sources.model import Kind, LocalFile
from xnatferry.transfer.events import Proof
from xnatferry.transfer.payload import file_pieces, measured, payload_pieces
from xnatferry.xnat import gzip_stream
from xnatferry.xnat.gzip_stream import HEAD_BYTES
from xnatferry.xnat.model import Address

DATA = Path(__file__).parents[1] / "data"
FROM_HEADER = "content MD5 equal (from the gzip header)"
FETCHED = "content MD5 equal (fetched and unpacked)"


@pytest.fixture
def remote(tmp_path):
    with (
        running_archive(tmp_path / "archive", admin_password="admin-pw") as archive,
        xnatferry.connect(server=archive.url, user="admin", password="admin-pw") as client,
    ):
        yield client.remote


@pytest.fixture
def other(monkeypatch):
    """Gives this computer the compressor of another one."""

    def change(level=9):
        monkeypatch.setattr(gzip_stream, "compressor", lambda: zlib.compressobj(level, zlib.DEFLATED, -15))

    return change


def image(path, seed=0, *, private=False):
    voxels = np.random.default_rng(seed).integers(0, 1000, (9, 8, 7)).astype("int16")
    made = nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
    made.header.set_xyzt_units("mm", "sec")
    if private:
        made.header["descrip"] = b"DOE^JANE 19700101"
        made.header.extensions.append(Nifti1Extension(6, b"phone her"))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(made, path)
    return path


def flat_gzip(root):
    for number, name in enumerate(("T1w.nii", "T2w.nii")):
        image(root / "ann" / name, number)
    return {}, {"gzip": True}


def flat_scrub(root):
    for number, name in enumerate(("T1w.nii.gz", "T2w.nii.gz")):
        image(root / "ann" / name, number, private=True)
    return {"scrub": True}, {}


def both(root):
    image(root / "ann" / "T1w.nii", 1, private=True)
    image(root / "ann" / "T2w.nii.gz", 2, private=True)
    return {"scrub": True}, {"gzip": True}


def same_name_twice(root):
    for number, folder in enumerate(("a", "b", "c")):
        image(root / "ann" / "v1" / folder / "T1w.nii", number)
    return {"template": ["{subject}/{session}/*/{type}.nii"]}, {"gzip": True}


def dataset(root):
    shutil.copytree(DATA / "bids" / "asl003", root)
    for number, path in enumerate(sorted(root.rglob("*.nii.gz"))):
        image(path, number, private=True)
    return {"scrub": True}, {}


def results(root):
    """More than eight files: one archive carries them."""
    for number in range(9):
        image(root / "ann" / f"map{number}.nii{'.gz' if number % 2 else ''}", number, private=True)
    return {"scrub": True, "kind": Kind.FILES, "template": ["{subject}/"]}, {
        "gzip": True,
        "resource": "MAPS",
        "level": "session",
    }


def subject(root):
    """A FreeSurfer subject with an image among its volumes."""
    shutil.copytree(DATA / "freesurfer7" / "sub-001", root / "sub-001", symlinks=True)
    image(root / "sub-001" / "mri" / "rawavg.nii", 5)
    return {}, {"gzip": True}


KINDS = [flat_gzip, flat_scrub, both, same_name_twice, dataset, results, subject]


class Push:
    """The source of one push, read and planned anew each time."""

    def __init__(self, make, root, remote, project="P"):
        self.root, self.remote, self.project = root, remote, project
        self.choices, self.rules = make(root)

    def plan(self, **options):
        discovery = api.discover(self.root, allow_incomplete=True, **self.choices)
        plan = api.plan(discovery, self.remote, MappingRules(self.project, **self.rules), **options)
        assert not plan.blocked, plan.blocked
        assert not plan.refusals, plan.refusals
        return plan

    def push(self, **options):
        result = api.push(self.plan(**options), self.remote)
        assert result.exit_code == 0, [receipt.message for receipt in result.failures]
        assert not result.unproven
        return result


@pytest.fixture
def pushed(request, tmp_path, remote):
    def push(make):
        one = Push(make, tmp_path / "source", remote)
        result = one.push()
        assert any(step.payload.gzip for step in one.plan().files)
        return one, result

    return push


def compressed(plan):
    return [step for step in plan.files if step.payload.gzip]


@pytest.mark.parametrize(("make", "level"), [*((make, 9) for make in KINDS), (flat_gzip, 1), (flat_scrub, 0)])
def test_a_second_push_with_another_compressor_sends_nothing(make, level, other, pushed, remote):
    one, result = pushed(make)
    asked = remote.requests
    plan = one.plan()
    same = remote.requests - asked
    assert plan.nothing_to_do
    other(level)
    asked = remote.requests
    plan = one.plan()
    assert plan.nothing_to_do
    assert {step.reason for step in compressed(plan)} == {FROM_HEADER}
    # With the compressor that made them nothing is asked for; with another one, two parts of each file.
    assert remote.requests - asked == same + 2 * len(compressed(plan))
    again = api.push(plan, remote)
    assert (again.exit_code, again.receipts) == (0, ())
    for deep, how in ((False, FROM_HEADER), (True, FETCHED)):
        verdicts = {verdict.address: verdict for verdict in api.verify_source(plan, remote, deep=deep)}
        assert {verdict.proof for verdict in verdicts.values()} == {Proof.DIGEST}
        assert {verdicts[step.address].message for step in compressed(plan)} == {how}
    assert result.receipts


@pytest.mark.parametrize("make", [flat_gzip, flat_scrub, dataset])
def test_an_image_that_changed_is_still_a_conflict(make, other, pushed, remote):
    one, _ = pushed(make)
    path = next(iter(sorted(one.root.rglob("*.nii*"))))
    image(path, 77, private=one.choices.get("scrub", False))
    other()
    plan = one.plan()
    (step,) = plan.conflicts
    assert step.payload.local.path == path
    assert "content differs" in step.reason
    with pytest.raises(ConflictError):
        api.push(plan, remote)


def test_a_plan_of_one_computer_is_carried_out_by_another(tmp_path, other, remote):
    for number, make in enumerate((flat_gzip, flat_scrub, dataset, results)):
        one = Push(make, tmp_path / f"source{number}", remote, f"P{number}")
        write_plan(api.with_digests(one.plan()), tmp_path / "plan.json", made="")
        other()
        for _ in range(2):  # the second time all is there
            result = api.push(api.recheck(read_plan(tmp_path / "plan.json"), remote), remote)
            assert result.exit_code == 0
            assert not result.unproven
        assert not result.receipts
        plan = one.plan()
        assert plan.nothing_to_do


def test_a_plan_that_another_computer_has_carried_out_meanwhile_finds_it_done(tmp_path, other, remote):
    one = Push(flat_scrub, tmp_path / "source", remote)
    write_plan(one.plan(), tmp_path / "plan.json", made="")
    one.push()
    other()
    left = api.recheck(read_plan(tmp_path / "plan.json"), remote)
    assert left.nothing_to_do
    assert {step.reason for step in compressed(left)} == {FROM_HEADER}


def test_both_versions_are_kept_once(tmp_path, other, remote):
    one = Push(flat_gzip, tmp_path / "source", remote)
    one.push()
    for number, name in enumerate(("T1w.nii", "T2w.nii")):
        image(one.root / "ann" / name, 50 + number)
    one.push(on_conflict=OnConflict.KEEP_BOTH)
    other()
    plan = one.plan(on_conflict=OnConflict.KEEP_BOTH)
    assert plan.nothing_to_do
    assert sorted(step.address.file for step in plan.files) == ["T1w_2.nii.gz", "T2w_2.nii.gz"]
    assert all(step.reason.endswith(FROM_HEADER) for step in plan.files)


def test_the_uncompressed_image_is_found_compressed(tmp_path, other, remote):
    one = Push(flat_gzip, tmp_path / "source", remote)
    one.push()
    other()
    one.rules = {}
    plan = one.plan()
    assert plan.nothing_to_do
    assert {step.reason for step in plan.files} == {f"is there compressed; {FROM_HEADER}"}


def test_the_manifest_of_a_dataset_is_the_same_everywhere_and_brings_it_back(tmp_path, other, remote):
    one = Push(dataset, tmp_path / "source", remote)
    here = [step.payload.local.data for step in one.plan().files if step.payload.local.data is not None]
    one.push()
    other()
    there = [step.payload.local.data for step in one.plan().files if step.payload.local.data is not None]
    assert here == there
    plan = plan_bids_pull(remote, Address("P"), tmp_path / "back")
    assert not plan.warnings
    assert fetch_all(plan, remote).exit_code == 0
    for path in one.root.rglob("*.nii.gz"):
        found = nibabel.load(tmp_path / "back" / path.relative_to(one.root))
        assert np.array_equal(np.asanyarray(nibabel.load(path).dataobj), np.asanyarray(found.dataobj))
        assert found.header["descrip"].item() == b""
    assert not plan_bids_pull(remote, Address("P"), tmp_path / "back").fetched
    replace_on_server(remote, compressed(one.plan())[0].address, gzip.compress(b"another image"))
    assert "1 file was changed" in plan_bids_pull(remote, Address("P"), tmp_path / "other").warnings[0]


def test_where_nothing_lists_a_digest_the_manifest_proves_the_content(tmp_path, remote):
    one = Push(dataset, tmp_path / "source", remote)
    one.push()
    plan = plan_bids_pull(remote, Address("P"), tmp_path / "back")
    assert all(file.held.content_digest is None for file in plan.files)
    (place,) = {file.address for file in plan.files if file.address == compressed(one.plan())[0].address}
    blind = next(file for file in plan.files if file.address == place)
    digest = gzip_stream.content_of(iter([stored_bytes(remote, place, tmp_path)])).digest
    for said, code in ((digest, 0), ("0" * 32, 8)):
        held = replace(blind.held, digest=None, content_digest=said)
        files = tuple(replace(file, held=held) if file is blind else file for file in plan.files)
        done = fetch_all(replace(plan, files=files, folder=tmp_path / said), remote)
        assert done.exit_code == code
        if code:
            assert "unpacks to" in done.failures[0].message
        shutil.rmtree(tmp_path / "back")


def stored_bytes(remote, address, folder):
    path = folder / "fetched"
    remote.get_file(address, path)
    return path.read_bytes()


def replace_on_server(remote, address, data):
    remote.send_file(address, lambda: [data], len(data), overwrite=True)


def test_an_image_that_a_colleague_compressed_is_known_by_its_content(pushed, remote):
    one, _ = pushed(flat_gzip)
    for step in one.plan().files:
        replace_on_server(remote, step.address, gzip.compress(step.payload.local.path.read_bytes(), mtime=5))
    plan = one.plan()
    assert plan.nothing_to_do
    assert {step.reason for step in plan.files} == {FETCHED}
    assert {verdict.message for verdict in api.verify(plan)} == {FETCHED}


def forged(mine):
    """Another image under our header: as if a program had kept the header when it changed the image."""
    other = bytearray(mine)
    other[-1] ^= 1
    return lambda stream: stream[:HEAD_BYTES] + gzip.compress(bytes(other))[10:]


BROKEN = {
    "forged": forged,
    "forged and of the same length": lambda mine: lambda stream: stream[:-8] + bytes(4) + stream[-4:],
    "cut off": lambda mine: lambda stream: stream[: len(stream) * 2 // 3],
    "only its header": lambda mine: lambda stream: stream[:HEAD_BYTES],
    "half its header": lambda mine: lambda stream: stream[: HEAD_BYTES // 2],
    "no gzip": lambda mine: lambda stream: b"text" * 500,
    "empty": lambda mine: lambda stream: b"",
    "two images": lambda mine: lambda stream: stream + stream,
    "the header of another size": lambda mine: lambda stream: stream[: HEAD_BYTES - 8] + bytes(8) + stream[HEAD_BYTES:],
    "another member behind it": lambda mine: lambda stream: stream + gzip.compress(b"more"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_not_the_image_is_never_taken_for_it(how, other, tmp_path, remote):
    one = Push(flat_gzip, tmp_path / "source", remote)
    one.push()
    step = compressed(one.plan())[0]
    spoilt = BROKEN[how](step.payload.local.path.read_bytes())(stored_bytes(remote, step.address, tmp_path))
    remote.remove(step.address, remove_files=True)
    if spoilt:
        replace_on_server(remote, step.address, spoilt)
    other()
    plan = one.plan()
    found = next(one for one in plan.files if one.address.file == step.address.file)
    whole = how == "the header of another size"  # the header is wrong and the image right: it is fetched
    assert found.decision is (Decision.SAME if whole else Decision.DIFFERS if spoilt else Decision.CREATE)
    for deep in (False, True):
        verdicts = {verdict.address: verdict for verdict in api.verify_source(plan, remote, deep=deep)}
        assert verdicts[found.address].proof.good is whole
    if spoilt and not whole:
        with pytest.raises(ConflictError):
            api.push(plan, remote)


def test_a_header_and_a_checksum_that_lie_are_found_by_a_deep_look(other, tmp_path, remote):
    one = Push(flat_gzip, tmp_path / "source", remote)
    one.push()
    step = compressed(one.plan())[0]
    stream = bytearray(stored_bytes(remote, step.address, tmp_path))
    stream[len(stream) // 2] ^= 255
    replace_on_server(remote, step.address, bytes(stream))
    other()
    plan = one.plan()
    assert plan.nothing_to_do  # as documented: both are believed
    verdicts = {verdict.address: verdict for verdict in api.verify_source(plan, remote, deep=True)}
    assert verdicts[step.address].proof is Proof.DIFFERS
    assert "no whole gzip stream" in verdicts[step.address].message


def test_an_undo_knows_what_was_really_sent(tmp_path, other, remote):
    one = Push(flat_scrub, tmp_path / "source", remote)
    plan = one.plan()
    with api.begin_run(plan, remote, folder=tmp_path / "runs") as journal:
        journal.end(api.push(plan, remote, journal=journal).exit_code)
    other()
    run = api.find_run(folder=tmp_path / "runs")
    assert {verdict.proof for verdict in api.verify_run(run, remote)} == {Proof.DIGEST}
    assert not api.plan_undo(run, remote, remove_project=True).stays
    api.undo(run, remote, remove_project=True)
    assert not remote.project_exists("P")


def test_an_undo_of_a_killed_push_knows_its_files_by_their_content(tmp_path, other, remote):
    one = Push(both, tmp_path / "source", remote)
    plan = one.plan()
    with api.begin_run(plan, remote, folder=tmp_path / "runs") as journal:
        api.push(plan, remote, journal=journal)
    (written,) = (tmp_path / "runs").rglob("journal.jsonl")
    began = [line for line in written.read_text().splitlines(keepends=True) if '"began"' in line]
    assert began
    written.write_text("".join(began))
    other()
    first = compressed(plan)[0]
    replace_on_server(remote, first.address, gzip.compress(b"of somebody else"))
    run = api.find_run(folder=tmp_path / "runs")
    assert first.address in {step.address for step in api.plan_undo(run, remote).stays}
    replace_on_server(remote, first.address, gzip.compress(b"".join(plain(first))))
    assert not api.plan_undo(run, remote, remove_project=True).stays
    api.undo(run, remote, remove_project=True)
    assert not remote.project_exists("P")


def plain(step):
    """The content of a file that is compressed on the way."""
    return gzip_stream.unpacked(payload_pieces(step.payload))


def test_a_file_that_changes_while_it_is_sent_never_arrives_whole(tmp_path):
    path = image(tmp_path / "T1w.nii")
    status = path.stat()
    local = LocalFile(path, "T1w.nii", status.st_size, status.st_mtime_ns)
    found = measured(local)
    data = bytearray(path.read_bytes())
    for change in (
        lambda: data.__setitem__(400, data[400] ^ 1),
        lambda: data.__setitem__(slice(352, None), os.urandom(len(data) - 352)),
    ):
        change()
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        with pytest.raises(FileChangedError):
            list(payload_pieces(Payload(local, gzip=True), found=found))
    assert hashlib.md5(b"".join(file_pieces(path))).hexdigest() != found.content.digest


@pytest.fixture
def elsewhere(tmp_path):
    """The environment of a command on another computer: Python itself brings another compressor."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "sitecustomize.py").write_text(
        "import zlib\nfrom xnatferry.xnat import gzip_stream\n"
        "gzip_stream.compressor = lambda: zlib.compressobj(9, zlib.DEFLATED, -15)\n"
    )
    return {"PYTHONPATH": str(tmp_path / "elsewhere")}


@pytest.mark.parametrize("option", ["--gzip", "--scrub"])
def test_commands_on_two_computers(ferry, tmp_path, elsewhere, option):
    root, name = tmp_path / "in", "T1w.nii" if option == "--gzip" else "T1w.nii.gz"
    path = image(root / "ann" / name, private=option == "--scrub")
    other = image(root / "ann" / name.replace("1", "2"), 1, private=option == "--scrub")
    arguments = (root, "-p", "P", option)
    assert ferry("plan", *arguments, "-o", tmp_path / "plan.json").code == 0
    assert ferry("push", tmp_path / "plan.json", "-y", env=elsewhere).code == 0
    done = ferry("push", *arguments, "-y", "--json")
    assert done.code == 0, done.text
    assert done.record("result")["sent_bytes"] == 0
    assert "Up to date" in ferry("push", tmp_path / "plan.json", "-y").text
    verified = ferry("verify", *arguments, "--json")
    assert verified.code == 0, verified.text
    assert [r["message"] for r in verified.records if r["record"] == "verdict"] == [FROM_HEADER, FROM_HEADER]
    image(path, 5, private=option == "--scrub")
    assert ferry("push", *arguments, "-y").code == 6
    assert ferry("pull", "P", tmp_path / "back").code == 0
    came = nibabel.load(next((tmp_path / "back").rglob("T2w.nii.gz")))
    assert np.array_equal(np.asanyarray(came.dataobj), np.asanyarray(nibabel.load(other).dataobj))
