"""Whole pushes through a proxy that fails, in front of a real archive: proven in the end, or every file named.

What is on the server is looked up behind the proxy's back, so a proof that is none is found out.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from proxy import (
    NEW,
    OLD,
    Reply,
    busy,
    closed,
    cut_answer,
    dripping,
    empty_200,
    landed_500,
    late_504,
    lost_reply,
    page,
    reset_in_body,
    running_proxy,
    slow_reader,
    spoilt,
)

from xnatferry import retry
from xnatferry.client.http import Timeouts
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.errors import XnatferryError
from xnatferry.planning.plan import Decision, Payload, Plan, Step, Transport
from xnatferry.planning.remote_state import Fingerprint
from xnatferry.planning.undo_plan import RunEffects
from xnatferry.sources.model import LocalFile
from xnatferry.transfer import run_context
from xnatferry.transfer.digest_ladder import BY_SIZE, COMPUTED, FETCHED, IN_CATALOG, LISTED
from xnatferry.transfer.engine import carry_out
from xnatferry.transfer.events import Outcome, PushResult
from xnatferry.transfer.undo_run import plan_of, undo
from xnatferry.xnat.model import Address, Level

numbers = count(1)
SINGLE, ARCHIVE, IMAGE = r"/files/(?!upload\.)", r"/files/upload\.", r"/files/t1\.nii\.gz"
FILES = r"/files/"


@dataclass
class Bench:
    """One push of one project: the proxy in front, the archive behind, and what should arrive."""

    proxy: object
    behind: Remote
    project: str
    folder: object
    contents: dict[Address, bytes] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    left: set[Address] = field(default_factory=set)
    through: Remote | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def session(self) -> Address:
        return Address(self.project, "s1", "s1_MR1")

    @property
    def nifti(self) -> Address:
        return replace(self.session, scan="1", resource="NIFTI")

    @property
    def results(self) -> Address:
        return replace(self.session, resource="RESULTS")

    @property
    def ready(self) -> Address:
        return replace(self.session, resource="FREESURFER7")

    def container(self, address: Address, **more: object) -> None:
        self.steps.append(Step(address, Decision.CREATE, **more))

    def file(
        self, address: Address, data: bytes, *, path=None, member=None, decision=Decision.CREATE, fields=None
    ) -> Step:
        if path is None:
            path = self.folder / f"{len(self.contents)}.bin"
            path.write_bytes(data)
        local = LocalFile(path, address.file, len(data), path.stat().st_mtime_ns, member=member)
        step = Step(address, decision, fields=fields or {}, payload=Payload(local))
        self.steps.append(step)
        self.contents[address] = data
        return step

    def fill(self) -> None:
        """A scan with three files sent one by one, twelve files that travel packed, a zip that is sent as it is.

        The first two resources come with their files; the last, without format and content, is made before.
        """
        self.container(Address(self.project))
        self.container(Address(self.project, "s1"))
        self.container(self.session, xsi_type="xnat:mrSessionData")
        self.container(self.nifti.container, xsi_type="xnat:mrScanData", fields={"type": "T1w"})
        image = {"format": "NIFTI", "content": "NIFTI_RAW"}
        self.container(self.nifti, fields=image)
        self.container(self.results, transport=Transport.PACKED, fields={"format": "TXT", "content": "STATS"})
        self.container(self.ready, transport=Transport.READY)
        self.file(self.nifti.child(Level.FILE, "t1.nii.gz"), b"\x1f\x8b" + os.urandom(30_000), fields=image)
        self.file(self.nifti.child(Level.FILE, "t1 é+#&.json"), b'{"odd": "name"}')
        self.file(self.nifti.child(Level.FILE, "empty.bval"), b"")
        for number in range(12):
            data = os.urandom(4000) if number else b""
            self.file(self.results.child(Level.FILE, f"s1/stats/é {number:02}.stats"), data)
        self.zipped({f"s1/mri/{name}.mgz": os.urandom(5000) for name in ("orig", "brain", "aseg", "ribbon")})

    def zipped(self, members: dict[str, bytes]) -> None:
        path = self.folder / "s1.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        for name, data in members.items():
            self.file(self.ready.child(Level.FILE, name), data, path=path, member=name)

    @property
    def plan(self) -> Plan:
        return Plan(self.proxy.url, self.project, tuple(self.steps))

    def push(self, **more: object) -> PushResult:
        assert self.through is not None
        return carry_out(self.plan, self.through, workers=3, stop=self.stop, **more)

    def already_there(self, address: Address, data: bytes) -> None:
        """Somebody else stores a file after the plan was made."""
        self.behind.ensure_project(address.project)
        if address.session:
            self.behind.ensure_session(replace(address.container, scan=None))
        if address.scan:
            self.behind.ensure_scan(address.container)
        self.behind.ensure_resource(replace(address, file=None))
        assert self.behind.send_file(address, lambda: [data], len(data)) == []

    def on_server(self) -> dict[Address, str]:
        """MD5 of every file that really is in the archive."""
        found = {}
        if self.behind.item(self.session) is None:
            return found
        for file in [*self.behind.list_files(self.session), *self.behind.list_files(self.session, all_scans=True)]:
            found[replace(self.session, scan=file.scan, resource=file.resource, file=file.name)] = file.digest
        return found


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    from xnatferry.server.archive import running_archive

    with running_archive(tmp_path_factory.mktemp("archive"), admin_password="admin-secret") as running:
        yield running


@pytest.fixture
def bench_for(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    opened = []

    def make(era: str = NEW) -> Bench:
        served = running_proxy(archive.url, era)
        proxy = served.__enter__()
        short = Timeouts(connect_s=5, read_s=8, write_s=8, stored_s=8)
        behind = Remote(Connection(archive.url, "admin", Secret("admin-secret")))
        through = Remote(Connection(proxy.url, "admin", Secret("admin-secret")), short, pause=lambda _: None)
        bench = Bench(proxy, behind, f"P{next(numbers)}", tmp_path, through=through)
        opened.extend((behind.close, through.close, lambda: served.__exit__(None, None, None)))
        bench.fill()
        return bench

    yield make
    for close in opened:
        close()


@dataclass(frozen=True)
class Variant:
    """One way in which a push is disturbed.

    Attributes:
        rule: The sharp edge of XNAT it stands for (C1-C12), or what fails.
        arrange: Sets it up.
        heals: Whether every file must end proven.
        code: The exit code, where it does not.
        named: How many files must be named at least.
        check: What else must be true.
    """

    name: str
    arrange: Callable[[Bench], object]
    heals: bool = True
    code: int | None = None
    eras: tuple[str, ...] = (NEW,)
    check: Callable[[Bench, PushResult], object] = lambda bench, result: None

    def __str__(self) -> str:
        return self.name


def fails(method: str, pattern: str, act: object, times: float = 1) -> Callable[[Bench], object]:
    return lambda bench: bench.proxy.fail(method, pattern, act, times=times)


def expired(archive_logins: object = None) -> Callable[[object, object], Reply]:
    """All logins are gone: the answer is 401, and the cookie is worth nothing any more."""

    def act(handler, seen):
        return page(401, "The request requires user authentication") if "cookie" in seen.headers else None

    return act


def other_file(bench):
    address = bench.nifti.child(Level.FILE, "t1.nii.gz")
    bench.already_there(address, b"somebody else's bytes")


def same_file(bench):
    address = bench.nifti.child(Level.FILE, "t1.nii.gz")
    bench.already_there(address, bench.contents[address])


def other_members(bench):
    for number in (3, 4):
        bench.already_there(bench.results.child(Level.FILE, f"s1/stats/é {number:02}.stats"), b"other")


def other_in_ready(bench):
    bench.already_there(bench.ready.child(Level.FILE, "s1/mri/orig.mgz"), b"other")


def never_overwritten(bench, result):
    held = bench.on_server()
    for name, data in (("t1.nii.gz", b"somebody else's bytes"),):
        assert held[bench.nifti.child(Level.FILE, name)] == hashlib.md5(data).hexdigest()


def others_untouched(bench, result):
    held = bench.on_server()
    kept = [bench.results.child(Level.FILE, f"s1/stats/é {number:02}.stats") for number in (3, 4)]
    assert {held[address] for address in kept} == {hashlib.md5(b"other").hexdigest()}
    assert {v.address for v in result.unproven} == set(kept)


def no_extract_of_images(bench, result):
    for seen in bench.proxy.requests:
        assert not ("extract=true" in seen.target and ".nii.gz" in seen.target)
        assert "reference=" not in seen.target, "C10: nothing on the server's own disk is moved"
        assert "/services/import" not in seen.target, "C12: the image uploader ignores NIfTI"


def one_writer(bench, result):
    assert not bench.proxy.crowded


def every_file_once(bench, result):
    assert set(bench.proxy.stored(SINGLE).values()) == {1}


def smaller_archives(bench, result):
    stored = [s for s in bench.proxy.requests if s.method == "PUT" and s.stored and "/files/upload." in s.target]
    assert len(stored) > 2
    assert all(int(s.headers["content-length"]) <= bench.proxy.body_limit for s in stored)


def limited(size: int, *, cuts: bool = False) -> Callable[[Bench], None]:
    def arrange(bench):
        bench.proxy.body_limit, bench.proxy.cuts = size, cuts

    return arrange


def stopped_halfway(bench):
    """Ctrl-C in the body of the first upload."""

    def act(handler, seen):
        bench.stop.set()

    bench.proxy.fail("PUT", FILES, act)


def replaces(bench, old: bytes | None = None):
    """The first image replaces other bytes, as the plan allows."""
    place = next(i for i, s in enumerate(bench.steps) if s.address.file == "t1.nii.gz")
    address = bench.steps[place].address
    bench.already_there(address, old if old is not None else b"\x1f\x8b" + bytes(30_000))
    bench.steps[place] = replace(bench.steps[place], decision=Decision.UPDATE)


def stale(bench):
    """The listing goes on showing the MD5 of the replaced bytes, and a refresh does not help."""
    old = b"\x1f\x8b" + bytes(30_000)
    replaces(bench, old)
    new = hashlib.md5(bench.contents[bench.nifti.child(Level.FILE, "t1.nii.gz")]).hexdigest().encode()

    def act(handler, seen):
        reply = handler.forward(seen)
        reply.body = reply.body.replace(new, hashlib.md5(old).hexdigest().encode())
        return reply

    bench.proxy.fail("GET", r"/files\?", act, times=999)


def no_digests(bench):
    bench.proxy.digests = False


def no_digests_until_asked(bench):
    bench.proxy.digests = False

    def act(handler, seen):
        assert "append" not in seen.target
        assert "delete" not in seen.target
        bench.proxy.digests = True

    bench.proxy.fail("POST", "/refresh/catalog", act, times=999)


def rung(*wanted: str) -> Callable[[Bench, PushResult], None]:
    def check(bench, result):
        assert {v.message.partition(";")[0] for v in result.verdicts} <= {w.partition(";")[0] for w in wanted}

    return check


def fetched_one(bench, result):
    assert sum(v.message.startswith(FETCHED) for v in result.verdicts) == 1


def asked_once_each(bench, result):
    asked = [s.target for s in bench.proxy.requests if "/refresh/catalog" in s.target]
    assert len(asked) == len(set(asked)) == 3, "once for each resource"
    rung(COMPUTED)(bench, result)


def refused_refresh(bench):
    no_digests(bench)
    bench.proxy.fail("POST", "/refresh/catalog", page(403, "no permission"), times=999)


def tidy(bench, result):
    assert not any("upload" in address.file for address in bench.on_server()), "no archive is left lying about"


def tar_instead(bench):
    """C11: servers before 1.8 unpack only zips, so a tar of the user is made one on the way."""
    import io
    import tarfile

    bench.steps = [s for s in bench.steps if s.address.resource != "FREESURFER7" or s.payload is None]
    members = {a.file: data for a, data in bench.contents.items() if a.resource == "FREESURFER7"}
    path = bench.folder / "s1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in reversed(members.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    for name, data in members.items():
        bench.file(bench.ready.child(Level.FILE, name), data, path=path, member=name)


def only_zips(bench, result):
    names = {s.path.rpartition("/")[2] for s in bench.proxy.requests if "extract=true" in s.target}
    assert names == {"upload.zip"}


def changing(bench):
    """A local file grows while it is on its way."""
    step = next(s for s in bench.steps if s.address.file == "t1.nii.gz")

    def act(handler, seen):
        with step.payload.local.path.open("ab") as stream:
            stream.write(b"more")

    bench.proxy.fail("PUT", r"/experiments/s1_MR1(\?|$)", act)


def not_stored(bench, result):
    assert bench.nifti.child(Level.FILE, "t1.nii.gz") not in bench.on_server()


def bounded(bench, result):
    """Three acts in a row are given up, and those of the other two workers that are under way by then."""
    uploads = [s for s in bench.proxy.requests if s.method == "PUT" and FILES in s.target]
    assert len(uploads) <= (run_context.GIVE_UP_AFTER + 2) * retry.ATTEMPTS


def unlisted_name(bench):
    """C5: a name that the server stores and never lists."""

    def act(handler, seen):
        import json

        reply = handler.forward(seen)
        if reply.status == 200 and b"ResultSet" in reply.body:
            table = json.loads(reply.body)
            rows = table["ResultSet"]["Result"]
            table["ResultSet"]["Result"] = [row for row in rows if row["Name"] != "orig.mgz"]
            reply.body = json.dumps(table).encode()
        return reply

    bench.proxy.fail("GET", r"/files\?", act, times=999)


def drop_image(bench):
    bench.steps = [s for s in bench.steps if s.address.file != "t1.nii.gz"]
    bench.contents = {a: d for a, d in bench.contents.items() if a.file != "t1.nii.gz"}


def only_image_fails(bench, result):
    named = {receipt.address for receipt in result.failures}
    assert named == {bench.nifti.child(Level.FILE, "t1.nii.gz")}


def again(arrange):
    """The same, with a first try that ends in a 503: the second must not take that for a leave to overwrite."""

    def both(bench):
        arrange(bench)
        bench.proxy.fail("PUT", FILES, busy(503), times=3)

    return both


BOTH = (OLD, NEW)
VARIANTS = [
    Variant("nothing goes wrong", lambda bench: None, eras=BOTH, check=one_writer),
    # C1-C12
    Variant("C1 another file of this name came first", other_file, heals=False, code=8, eras=BOTH, check=never_overwritten),
    Variant("C1 the same file came first", same_file),
    Variant("C1 another file came first, and the upload is tried again", again(other_file), heals=False, code=8, eras=BOTH, check=never_overwritten),
    Variant("C2 other members came first, and the upload is tried again", again(other_members), heals=False, code=8, check=others_untouched),
    Variant("C2 other members of an archive came first", other_members, heals=False, code=8, check=others_untouched),
    Variant("C2 another member of the user's own zip", other_in_ready, heals=False, code=8),
    Variant("C3 images are never sent to be unpacked", lambda bench: None, check=no_extract_of_images),
    Variant("C4 an empty body is refused, empty files arrive", fails("PUT", r"inbody=true.*", slow_reader), check=every_file_once),
    Variant("C5 a name that is stored and never listed", unlisted_name, heals=False, code=8),
    Variant("C6 no digests, the server computes them", no_digests_until_asked, check=asked_once_each),
    Variant("C6 no digests, and asking is not permitted", refused_refresh, check=rung(BY_SIZE)),
    Variant("C6 no digests at all", no_digests, check=rung(BY_SIZE)),
    Variant("C6 1.6.4: the digests stand in the catalogs", lambda bench: None, eras=(OLD,), check=rung(IN_CATALOG)),
    Variant("C9 one writer a resource", fails("PUT", FILES, slow_reader, 99), check=one_writer),
    Variant("C11 a tar is made a zip on the way", tar_instead, check=only_zips, eras=BOTH),
    # Answers that lie
    Variant("empty 200 without a write, once", fails("PUT", SINGLE, empty_200), heals=False, code=8),
    Variant("empty 200 without a write, always", fails("PUT", FILES, empty_200, 999), heals=False, code=8, eras=BOTH),
    Variant("500 after the file landed", fails("PUT", SINGLE, landed_500), check=every_file_once),
    Variant("500 after the archives landed", fails("PUT", ARCHIVE, landed_500, 2), check=tidy),
    Variant("500 on every upload", fails("PUT", FILES, page(500, "NullPointerException"), 999), heals=False, code=1),
    Variant("a byte changed on the way", fails("PUT", IMAGE, spoilt), heals=False, code=8),
    Variant("an overwrite of the same size is cut off, no digests",
            lambda bench: (replaces(bench), no_digests(bench), bench.proxy.fail("PUT", IMAGE, reset_in_body))),
    Variant("stale digest after an overwrite", stale, check=lambda bench, result: (rung(LISTED, FETCHED)(bench, result), fetched_one(bench, result))),
    Variant("reply lost after an overwrite of the same size, no digests",
            lambda bench: (replaces(bench), no_digests(bench), bench.proxy.fail("PUT", IMAGE, lost_reply))),
    Variant("a web page in place of the answer", fails("PUT", SINGLE, Reply(200, b"<html><h1>Maintenance</h1></html>")), heals=False),
    # Limits of proxies
    Variant("413 above 20 kB: smaller archives", lambda b: (limited(20_000)(b), drop_image(b)), check=smaller_archives, eras=BOTH),
    Variant("bodies above 20 kB are cut: smaller archives", lambda b: (limited(20_000, cuts=True)(b), drop_image(b)), check=smaller_archives),
    Variant("413 for one large file, the others arrive", limited(20_000), heals=False, code=1,
            check=only_image_fails),
    Variant("one large file is cut every time", limited(20_000, cuts=True), heals=False, code=5,
            check=only_image_fails),
    Variant("413 on everything", fails("PUT", FILES, Reply(413), 9999), heals=False, code=1),
    # Temporary
    Variant("429 with Retry-After", fails("PUT", FILES, busy(429, "0.2"), 3)),
    Variant("429 that asks for an hour", fails("PUT", FILES, busy(429, "3600"), 999), heals=False, code=5, check=bounded),
    *(Variant(f"{status} on uploads", fails("PUT", FILES, busy(status), 4), eras=BOTH) for status in (502, 503, 504)),
    Variant("504 while the server goes on", fails("PUT", FILES, late_504, 3), check=every_file_once),
    Variant("503 from here on", fails("*", ".*", busy(503), 9999), heals=False, code=5),
    Variant("503 on every upload", fails("PUT", FILES, busy(503), 9999), heals=False, code=5, check=bounded),
    Variant("503 on the session", fails("PUT", r"/experiments/[^/]*$", busy(503), 999), heals=False, code=5),
    Variant("403 on the session", fails("PUT", r"/experiments/[^/]*$", page(403, "no"), 999), heals=False, code=3),
    Variant("403 on one resource", fails("PUT", r"/resources/FREESURFER7($|\?)", page(403, "no"), 999), heals=False, code=3),
    # Connections
    Variant("answers in drops", fails("GET", r"/files", dripping, 99)),
    Variant("bodies are taken in drops", fails("PUT", FILES, slow_reader, 99)),
    Variant("reset in the body of every first try", fails("PUT", FILES, reset_in_body, 3), eras=BOTH),
    Variant("closed without an answer", fails("PUT", FILES, closed, 3)),
    Variant("reset in every upload", fails("PUT", FILES, reset_in_body, 9999), heals=False, code=5),
    Variant("every reply to an upload lost", fails("PUT", FILES, lost_reply, 999), eras=BOTH, check=every_file_once),
    Variant("replies lost after objects were made", fails("PUT", r"/(projects/P\d+|subjects/s1|s1_MR1|FREESURFER7)(\?[^/]*)?$", lost_reply, 4)),
    Variant("listings cut off", fails("GET", r"/files\?", cut_answer, 3)),
    Variant("the last listing never comes", fails("GET", r"/files\?", busy(503), 999), heals=False, code=5),
    # Logins
    Variant("the login expires before every upload", fails("PUT", FILES, expired(), 5)),
    Variant("the login expires in the middle of everything", fails("*", r"/(files|resources|experiments|scans)", expired(), 9), eras=BOTH),
    # Local
    Variant("a local file grows on its way", changing, heals=False, check=not_stored),
    Variant("stopped halfway", stopped_halfway, heals=False, code=130),
]  # fmt: skip


CASES = [pytest.param(variant, era, id=f"{variant}, {era}") for variant in VARIANTS for era in variant.eras]


@pytest.mark.parametrize(("variant", "era"), CASES)
def test_a_push_ends_proven_or_names_every_file(variant, era, bench_for):
    bench = bench_for(era)
    variant.arrange(bench)
    try:
        result = bench.push()
    except XnatferryError as error:
        if variant.heals or error.exit_code != variant.code:
            raise
        # Before anything could be sent: the message stands for all files.
        assert all(fault.hits for fault in bench.proxy.faults), "the fault was not met"
        assert not any(seen.stored and FILES in seen.target for seen in bench.proxy.requests)
        return
    assert all(fault.hits for fault in bench.proxy.faults), "the fault was not met"
    bench.proxy.faults.clear()
    held = bench.on_server()
    verdicts = {verdict.address: verdict for verdict in result.verdicts}
    named = {r.address for r in result.failures} | {v.address for v in result.unproven}
    for address, data in bench.contents.items():
        verdict = verdicts.get(address)
        if verdict is not None and verdict.proof.good:
            assert held.get(address) == hashlib.md5(data).hexdigest(), f"sworn, and not there: {address}"
        elif not result.stopped:
            assert address in named, f"neither proven nor named: {address}"
    if variant.heals:
        assert result.exit_code == 0, [r for r in result.receipts if r.message] + list(result.unproven)
        assert verdicts.keys() == bench.contents.keys()
    else:
        assert result.exit_code == variant.code or (variant.code is None and result.exit_code)
        assert named or result.stopped
    assert not bench.proxy.crowded, "two writers to one resource"
    variant.check(bench, result)


def made_alone(bench):
    puts = [seen.path for seen in bench.proxy.requests if seen.method == "PUT"]
    return {path.rpartition("/")[2] for path in puts if path.rpartition("/")[0].endswith("/resources")}


@pytest.mark.parametrize("era", BOTH)
def test_resources_of_a_new_session_come_with_their_files(era, bench_for):
    bench = bench_for(era)
    result = bench.push()
    assert result.exit_code == 0
    # On 1.6.4 the first file names its resource (recorded); of others than 1.8 nothing is assumed.
    assert made_alone(bench) == ({"FREESURFER7"} if era == NEW else {"FREESURFER7", "NIFTI"})
    made = {r.address for r in result.receipts if r.outcome is Outcome.CREATED}
    assert {bench.nifti, bench.results, bench.ready} <= made
    (row,) = bench.behind.list_resources(bench.nifti.container)
    assert (row["format"], row["content"]) == ("NIFTI", "NIFTI_RAW")
    (row,) = [row for row in bench.behind.list_resources(bench.session) if row["label"] == "RESULTS"]
    assert (row["format"], row["content"]) == ("TXT", "STATS")


def test_resources_of_a_session_that_was_there_are_made_first(bench_for):
    """Somebody else may be making them just now."""
    bench = bench_for()
    bench.already_there(replace(bench.session, resource="OTHER", file="a.txt"), b"a")
    result = bench.push()
    assert result.exit_code == 0
    assert made_alone(bench) == {"NIFTI", "RESULTS", "FREESURFER7"}


def test_a_resource_whose_first_file_fails_is_not_said_to_be_made(bench_for):
    bench = bench_for()
    bench.proxy.fail("PUT", "/NIFTI/files/", page(403, "no"), times=999)
    result = bench.push()
    assert bench.nifti not in {r.address for r in result.receipts if r.outcome is Outcome.CREATED}
    assert {r.address.resource for r in result.failures} == {"NIFTI"}


# The way back


def deeds_of(bench, result):
    fields = {step.address: step.fields for step in bench.steps}
    created = {r.address: fields[r.address] for r in result.receipts if r.outcome is Outcome.CREATED}
    stored = {r.address: Fingerprint(r.size_bytes, r.digest) for r in result.receipts if r.outcome is Outcome.STORED}
    return RunEffects(created, stored)


def prefix_delete(handler, seen):
    """1.8 removes every file whose name begins with the one that is named (``FileList.removeRepresentations``)."""
    import json

    base, _, name = seen.target.partition("?")[0].partition("/files/")
    asked = type(seen)("GET", f"{base}/files?format=json", seen.headers)
    for row in json.loads(handler.forward(asked).body)["ResultSet"]["Result"]:
        other = row["URI"].partition("/files/")[2]
        if other.startswith(name) and other != name:
            handler.forward(type(seen)("DELETE", f"{base}/files/{other}?removeFiles=true", seen.headers))


def nothing_removed(handler, seen):
    return Reply(200)


REMOVALS = [
    ("C7 every object and file goes with its bytes", None, 0, 0),
    ("C8 207: only a part was removed", Reply(207, b"1 of 2 resources could not be removed"), 999, 1),
    ("200, and nothing was removed", nothing_removed, 999, 1),
    ("403 on the removal", page(403, "no permission"), 999, 3),
    ("503 twice on the removal", busy(), 2, 0),
    ("reply lost after the removal", lost_reply, 3, 0),
    ("the login expires before the removal", expired(), 3, 0),
]


@pytest.mark.parametrize(
    ("name", "act", "times", "code"), REMOVALS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_a_run_made_is_gone_or_named(name, act, times, code, bench_for):
    bench = bench_for()
    result = bench.push()
    assert result.exit_code == 0
    plan = plan_of(deeds_of(bench, result), bench.through, bench.project, remove_project=True)
    if act is not None:
        bench.proxy.fail("DELETE", "/projects/", act, times=times)
    receipts = undo(plan, bench.through)
    assert all(fault.hits for fault in bench.proxy.faults)
    bench.proxy.faults.clear()
    removals = [s for s in bench.proxy.requests if s.method == "DELETE" and "/projects/" in s.target]
    assert all("removeFiles=true" in s.target for s in removals)
    there = bench.behind.item(Address(bench.project)) is not None
    assert there == bool(code)
    failed = {receipt.exit_code for receipt in receipts} - {0}
    assert bool(failed) == bool(code)
    assert not code or code in failed


def test_a_removal_takes_nothing_along_whose_name_begins_the_same(bench_for):
    bench = bench_for()
    others = bench.results.child(Level.FILE, "mine.txt.theirs")
    bench.already_there(others, b"somebody else's")
    for name in ("mine.txt", "mine.txt.gz", "mine.txt.gz.md5", "yours.txt"):
        bench.file(bench.results.child(Level.FILE, name), name.encode())
    result = bench.push()
    assert result.exit_code == 0
    plan = plan_of(deeds_of(bench, result), bench.through, bench.project, remove_project=True)
    bench.proxy.fail("DELETE", "/files/", prefix_delete, times=999)
    receipts = undo(plan, bench.through)
    assert not any(receipt.exit_code for receipt in receipts)
    held = {address.file for address in bench.on_server()}
    assert held == {"mine.txt", "mine.txt.theirs"}, "what could not be told apart stays"
    (kept,) = [step for step in plan.stays if step.address.file]
    assert kept.address.file == "mine.txt"
    assert "mine.txt.theirs" in kept.reason


def test_a_neighbour_that_comes_later_is_not_taken_along(bench_for):
    bench = bench_for()
    bench.already_there(bench.results.child(Level.FILE, "theirs"), b"somebody else's")
    bench.file(bench.results.child(Level.FILE, "mine.txt"), b"mine")
    result = bench.push()
    plan = plan_of(deeds_of(bench, result), bench.through, bench.project)
    bench.already_there(bench.results.child(Level.FILE, "mine.txt.gz"), b"somebody else's")
    bench.proxy.fail("DELETE", "/files/", prefix_delete, times=999)
    (failed,) = [r for r in undo(plan, bench.through) if r.exit_code and r.address.file]
    assert (failed.address.file, failed.exit_code) == ("mine.txt", 6)
    assert "mine.txt.gz" in {address.file for address in bench.on_server()}


def test_every_byte_is_held_to_the_pace(bench_for):
    from xnatferry.transfer.rate_limit import RateLimit

    bench = bench_for()
    waited = []
    rate_limit = RateLimit(1000, clock=lambda: 0.0, wait=waited.append)
    assert bench.push(rate_limit=rate_limit).exit_code == 0
    # With a clock that stands still, the longest wait is that of the last piece: everything before it, at this rate.
    ready = (bench.folder / "s1.zip").stat().st_size
    sent = sum(len(data) for address, data in bench.contents.items() if address.resource != "FREESURFER7") + ready
    assert sent - 250 <= max(waited) * 1000 <= sent


def test_progress_adds_up_to_the_plan_whatever_is_sent_again(bench_for):
    from xnatferry.transfer.events import BytesSent

    bench = bench_for()
    bench.proxy.fail("PUT", FILES, reset_in_body, times=3)
    bench.proxy.fail("PUT", FILES, lost_reply, times=2)
    told = {}

    def listen(event):
        if isinstance(event, BytesSent):
            told[event.address] = told.get(event.address, 0) + event.size_bytes

    assert bench.push(listener=listen).exit_code == 0
    assert {address: size for address, size in told.items() if size} == {
        a: len(d) for a, d in bench.contents.items() if d
    }


def under_another_login(handler, seen):
    """Everything is done; a load balancer has given the session to another node."""
    reply = handler.forward(seen)
    reply.headers = {**reply.headers, "Set-Cookie": "JSESSIONID=FEDCBA98765432100123456789ABCDEF; Path=/"}
    return reply


@pytest.mark.parametrize("act", [lost_reply, under_another_login])
@pytest.mark.parametrize("pattern", [r"/experiments/s1_MR1(\?|$)", r"/resources/FREESURFER7(\?|$)", SINGLE, ARCHIVE])
def test_what_had_to_be_sent_twice_is_of_this_run(act, pattern, bench_for):
    bench = bench_for()
    bench.proxy.fail("PUT", pattern, act)
    result = bench.push()
    assert bench.proxy.faults[0].hits
    assert result.exit_code == 0
    assert {r.outcome for r in result.receipts} == {Outcome.CREATED, Outcome.STORED}
    undo(plan_of(deeds_of(bench, result), bench.through, bench.project, remove_project=True), bench.through)
    assert bench.behind.item(Address(bench.project)) is None
