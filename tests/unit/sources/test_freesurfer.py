import gzip
import hashlib
import io
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Kind, Severity
from xnatferry.xnat.model import Level


def ids(findings):
    return [finding.id for finding in findings]


def errors(source):
    return [finding.id for finding in source.findings if finding.severity is Severity.ERROR]


def only(path, **said):
    discovery = discover(path, **said)
    (source,) = discovery.sources
    assert discovery.kind is Kind.FREESURFER
    return source


def test_a_complete_subject_goes_as_it_is(whole_subject):
    source = only(whole_subject)
    assert errors(source) == []
    assert (source.claims.subject, source.claims.session) == ("001", None)
    assert (source.version, source.claims.resource, source.archived) == ("7.4.1", "FREESURFER7", False)
    names = {file.name for file in source.files}
    assert {"sub-001/stats/aseg.stats", "sub-001/mri/orig.mgz", "sub-001/surf/lh.pial"} <= names
    assert all(name.startswith("sub-001/") for name in names)


def test_links_inside_are_carried_as_what_they_point_to(whole_subject):
    files = {file.name: file for file in only(whole_subject).files}
    link, target = files["sub-001/surf/lh.pial"], files["sub-001/surf/lh.pial.T1"]
    assert link.size_bytes == target.size_bytes > 0
    assert link.path.read_bytes() == target.path.read_bytes()


def test_digests_of_what_was_read_are_right(whole_subject):
    files = {file.name: file for file in only(whole_subject, deep=True).files}
    for name in ("sub-001/mri/orig.mgz", "sub-001/stats/aseg.stats"):
        assert files[name].digest == hashlib.md5(files[name].path.read_bytes()).hexdigest()


def test_a_subjects_dir_names_what_it_passes_by(subject):
    root = subject.parent
    shutil.copytree(subject, root / "fsaverage", symlinks=True)
    (root / "linked").symlink_to("sub-001")
    (root / "notes").mkdir()
    discovery = discover(root)
    assert [source.relative for source in discovery.sources] == ["sub-001"]
    assert sorted((f.id, f.path.name) for f in discovery.findings if f.id != "PRV09") == [
        ("FS16", "fsaverage"),
        ("FS16", "linked"),
    ]


def test_subjects_are_found_some_folders_deep(subject):
    assert [s.relative for s in discover(subject.parent.parent).sources] == ["subjects/sub-001"]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_stats_alone_are_a_subject_that_is_not_complete(subject, tmp_path, packed):
    for inner in subject.iterdir():
        if inner.name != "stats":
            shutil.rmtree(inner)
    path = zipped(subject, tmp_path / "s.zip") if packed else subject
    assert "FS01" in errors(only(path))
    source = only(path, allow_incomplete=True)
    assert errors(source) == []
    assert "sub-001/stats/aseg.stats" in {file.name for file in source.files}
    assert discover(subject.parent).kind is Kind.FREESURFER


def test_scratch_stays_behind_and_is_named(subject):
    for name in ("trash/x", "tmp/y", "bem/z", ".xdebug_mris", "mri/.hidden"):
        (subject / name).parent.mkdir(exist_ok=True)
        (subject / name).write_text("x")
    source = only(subject)
    assert not [
        f.name for f in source.files if any(word in f.name for word in ("trash", "tmp/", "bem", "xdebug", "hidden"))
    ]
    (finding,) = [f for f in source.findings if f.id == "FS17"]
    assert "trash/" in finding.message


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda s, f: (s / "mri/norm.mgz").unlink(), "FS01"),
        (lambda s, f: (s / "stats/lh.aparc.stats").write_bytes(b""), "FS01"),
        (lambda s, f: (s / "scripts/IsRunning.lh+rh").write_text("x"), "FS02"),
        (lambda s, f: append(s / "scripts/recon-all-status.log", "recon-all -s x exited with ERRORS at now\n"), "FS02"),
        (lambda s, f: (s / "mri/T1.mgz").write_bytes((s / "mri/T1.mgz").read_bytes()[:-9]), "FS04"),
        (lambda s, f: (s / "mri/T1.mgz").write_bytes(b"<html>"), "FS04"),
        (lambda s, f: (s / "mri/T1.mgz").write_bytes(gzip.compress(gzip.decompress(f.mgh())[:-1], 1)), "FS04"),
        (lambda s, f: (s / "surf/lh.white").write_bytes(f.surface()[:-1]), "FS04"),
        (lambda s, f: (s / "surf/lh.thickness").write_bytes(f.curvature()[:-1]), "FS04"),
        (lambda s, f: (s / "label/rh.aparc.annot").write_bytes(f.annotation()[:-1]), "FS04"),
        (lambda s, f: (s / "mri/T1.mgz").write_bytes(f.mgh(centre=5.0)), "FS05"),
        (lambda s, f: (s / "surf/lh.curv").write_bytes(f.curvature(13)), "FS07"),
        (lambda s, f: cut_lines(s / "stats/aseg.stats", 3), "FS09"),
        (lambda s, f: shutil.copy(s / "stats/lh.aparc.stats", s / "stats/rh.aparc.stats"), "FS09"),
        (lambda s, f: replaced(s / "stats/lh.aparc.stats", "subjectname sub-001", "subjectname bert"), "FS13"),
        (lambda s, f: rename(s, "sub-999"), "FS27"),
        (lambda s, f: rename(s, "sub-001_ses-2"), None),
        (lambda s, f: replaced(s / "stats/lh.aparc.stats", "cvs_version 7.4.1", "cvs_version 6.0.0"), "FS23"),
        (lambda s, f: (s / "stats/lh.w-g.pct.stats").write_bytes(b""), "FS09"),
        (lambda s, f: (s / "mri/lh.hippoSfVolumes-T1.v22.txt").write_text("CA1 12"), "FS09"),
        (lambda s, f: (s / "label/lh.cortex.label").write_text("0\n"), "FS04"),
        (lambda s, f: (s / "base-tps").write_text("a\nb\n"), "FS20"),
        (lambda s, f: (s / "mri/rawavg.mgz").symlink_to("gone.mgz"), "FS19"),
        (lambda s, f: (s / "mri/rawavg.mgz").symlink_to("../../.git/annex/objects/x/y"), "FS19"),
    ],
)
def test_damage_is_found_and_refuses_the_subject(subject, formats, damage, expected):
    damage(subject, formats)
    source = only(subject)
    assert errors(source) == ([expected] if expected else [])
    assert expected is None or source.findings[0].id == expected, "errors stand first"


def rename(subject, name):
    for path in (subject / "stats").iterdir():
        path.write_text(path.read_text().replace("subjectname sub-001", f"subjectname {name}"))


def append(path, text):
    with path.open("a") as stream:
        stream.write(text)


def cut_lines(path, count):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-count]))


def replaced(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: replaced(s / "stats/aseg.stats", "1626503.552457", "326503.5"), "FS10"),
        (lambda s: replaced(s / "stats/aseg.stats", "prior to fixing, 14", "prior to fixing, 80"), "FS08"),
        (lambda s: replaced(s / "stats/aseg.stats", "Left-Hippocampus", "Somewhere"), "FS06"),
        (lambda s: replaced(s / "mri/transforms/talairach.xfm", "1.033357", "9.033357"), "FS11"),
        (
            lambda s: [
                path.write_text(path.read_text().replace("sub-001", "bert")) for path in (s / "stats").iterdir()
            ],
            "FS13",
        ),
        (lambda s: (s / "surf/lh.EC_average").symlink_to("/usr"), "FS14"),
    ],
)
def test_doubts_are_warnings(subject, change, expected):
    change(subject)
    source = only(subject)
    assert errors(source) == []
    assert expected in ids(source.findings)


def test_the_complete_subject_raises_none_of_these_doubts(whole_subject):
    assert set(ids(only(whole_subject).findings)) <= {"FS12", "FS15", "FS24"}


def test_incomplete_is_a_warning_on_request(subject):
    (subject / "mri/norm.mgz").unlink()
    (subject / "scripts/recon-all-status.log").unlink()
    (subject / "scripts/recon-all.log").write_text("nothing")
    assert errors(only(subject)) == ["FS01", "FS02"]
    source = only(subject, allow_incomplete=True)
    assert errors(source) == []
    told = [finding.message for finding in source.findings if finding.id in {"FS01", "FS02"}]
    assert len(told) == 2
    assert all(message.endswith("; uploaded because of --allow-incomplete") for message in told)
    assert not any("copy the run again" in message or "carry it" in message for message in told)


def test_high_resolution_has_a_label_of_its_own(subject, formats):
    volume = formats.mgh((320, 320, 320), 0.8)
    for path in (subject / "mri").glob("*.mgz"):
        path.write_bytes(volume)
    source = only(subject)
    assert source.claims.resource == "FREESURFER7_HIRES"
    assert "FS21" in ids(source.findings)


@pytest.mark.parametrize(
    ("stamp", "version", "resource"),
    [
        ("freesurfer-Linux-centos6_x86_64-stable-pub-v6.0.0-2beb96c", "6.0.0", "FREESURFER6"),
        ("freesurfer-linux-centos7_x86_64-7.1.1-20200723-8b40551", "7.1.1", "FREESURFER7"),
        ("freesurfer-Linux-centos4_x86_64-stable-pub-v5.3.0", "5.3.0", "FREESURFER5"),
    ],
)
def test_the_version_names_the_resource(subject, stamp, version, resource):
    (subject / "scripts/build-stamp.txt").write_text(stamp + "\n")
    source = only(subject)
    assert (source.version, source.claims.resource) == (version, resource)


def test_a_version_without_stamp_is_inferred_and_said():
    data = Path(__file__).resolve().parents[2] / "data" / "freesurfer6" / "subject1"
    source = only(data, allow_incomplete=True)
    assert (source.version, source.claims.resource) == ("6", "FREESURFER6")
    assert "FS03" in ids(source.findings)


def test_fastsurfer_and_longitudinal_runs_have_labels_of_their_own(subject):
    long = subject.rename(subject.with_name("P1.long.P1_base"))
    assert (only(long).claims.subject, only(long).claims.resource) == ("P1", "FREESURFER7_LONG")
    (long / "scripts/deep-seg.log").write_text("x")
    assert only(long, allow_incomplete=True).claims.resource == "FASTSURFER_LONG"


def test_session_from_the_folder_name_or_a_template(subject):
    named = subject.rename(subject.with_name("sub-01_ses-2"))
    assert (only(named).claims.subject, only(named).claims.session) == ("01", "01_2")
    other = named.rename(named.with_name("P7_MR2"))
    claims = only(other, template=("{subject}_{session}",)).claims
    assert (claims.subject, claims.session, claims.resource) == ("P7", "MR2", "FREESURFER7")
    assert ids(discover(other, template=("{subject}-{session}",)).findings) == ["NII20"]


# Archives


def zipped(subject, path, *, prefix=None, links=False, extra=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(subject.rglob("*")):
            name = f"{subject.name if prefix is None else prefix}/{file.relative_to(subject)}".lstrip("/")
            if file.is_symlink() and links:
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
                packed.writestr(info, str(file.readlink()))
            elif file.is_file():
                packed.write(file, name)
        for name, content in extra:
            packed.writestr(name, content)
    return path


def tarred(subject, path, *, dereference):
    mode = "w:gz" if path.name.endswith("gz") else "w"
    with tarfile.open(path, mode, dereference=dereference) as packed:
        packed.add(subject, f"./{subject.name}")
    return path


@pytest.mark.parametrize("name", ["s.zip", "s.tar", "s.tar.gz", "s.tgz"])
def test_a_ready_archive_is_sent_as_it_is(whole_subject, tmp_path, name):
    if name == "s.zip":
        archive = zipped(whole_subject, tmp_path / name)
    else:
        archive = tarred(whole_subject, tmp_path / name, dereference=True)
    source = only(archive)
    assert (source.archived, source.version, errors(source)) == (True, "7.4.1", [])
    assert (source.claims.subject, source.claims.resource) == ("001", "FREESURFER7")
    folder = only(whole_subject)
    assert {(f.name, f.size_bytes) for f in source.files} == {(f.name, f.size_bytes) for f in folder.files}
    digests = {f.name: f.digest for f in source.files}
    for file in folder.files:
        assert digests[file.name] == hashlib.md5(file.path.read_bytes()).hexdigest()
    assert all(f.path == archive and f.member for f in source.files)


def test_a_zip_with_links_or_without_top_folder_is_packed_anew(whole_subject, tmp_path):
    expected = {(f.name, f.size_bytes) for f in only(whole_subject).files}
    for source in (
        only(zipped(whole_subject, tmp_path / "links.zip", links=True)),
        only(zipped(whole_subject, tmp_path / "sub-001.zip", prefix="")),
        only(zipped(whole_subject, tmp_path / "deep.zip", prefix="derivatives/freesurfer/sub-001")),
        only(
            zipped(whole_subject, tmp_path / "mac.zip", extra=[("__MACOSX/._sub-001", b"x"), ("sub-001/tmp/x", b"x")])
        ),
    ):
        assert (source.archived, errors(source)) == (False, [])
        assert "FS22" in ids(source.findings)
        assert {(f.name, f.size_bytes) for f in source.files} == expected


def test_members_that_are_packed_anew_can_be_read_by_the_transfer(whole_subject, tmp_path):
    from xnatferry.transfer.payload import fingerprint

    source = only(zipped(whole_subject, tmp_path / "links.zip", links=True))
    (pial,) = [f for f in source.files if f.name == "sub-001/surf/lh.pial"]
    assert fingerprint(pial).digest == hashlib.md5((whole_subject / "surf/lh.pial.T1").read_bytes()).hexdigest()


@pytest.mark.parametrize("reason", ["cut", "encrypted", "climbs", "bz2", "noise", "twice"])
def test_an_archive_that_cannot_be_used_says_why(whole_subject, tmp_path, reason):
    small = tmp_path / "sub-001"
    for name in ("stats/aseg.stats", "scripts/recon-all.log", "mri/transforms/talairach.xfm"):
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(whole_subject / name, small / name)
    archive = tmp_path / "s.zip"
    if reason == "bz2":
        (archive := tmp_path / "s.tar.bz2").write_bytes(b"BZh9")
    elif reason == "noise":
        archive.write_bytes(b"not an archive")
    else:
        zipped(small, archive, extra=[("sub-001/../../x", b"")] if reason == "climbs" else [])
    if reason == "cut":
        archive.write_bytes(archive.read_bytes()[:-200])
    if reason == "encrypted":
        content = bytearray(archive.read_bytes())
        at = content.index(b"PK\x01\x02")
        content[at + 8] |= 1
        archive.write_bytes(content)
    if reason == "twice":
        with zipfile.ZipFile(archive, "a") as packed, pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr("sub-001/stats/aseg.stats", b"x")
    source = only(archive)
    assert errors(source) == ["FS18"]
    assert source.findings[0].message


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_every_subject_of_an_archive_is_a_source(whole_subject, tmp_path, ending):
    from xnatferry.transfer.payload import fingerprint

    root = tmp_path / "batch"
    for name in ("P1", "P2", "fsaverage"):
        shutil.copytree(whole_subject, root / name, symlinks=True)
    archive = (
        zipped(root, tmp_path / f"batch{ending}")
        if ending == ".zip"
        else tarred(root, tmp_path / f"batch{ending}", dereference=False)
    )
    discovery = discover(archive)
    assert ids(discovery.findings) == ["FS16", "PRV09"]
    expected = {(f.name, f.size_bytes) for f in only(whole_subject).files}
    for source, subject in zip(discovery.sources, ("P1", "P2"), strict=True):
        assert (source.claims.subject, source.archived, errors(source)) == (subject, False, [])
        named = {(f.name.replace(f"{subject}/", "sub-001/"), f.size_bytes) for f in source.files}
        assert named == expected
    (pial,) = [f for f in discovery.sources[1].files if f.name == "P2/surf/lh.pial"]
    assert fingerprint(pial).digest == hashlib.md5((whole_subject / "surf/lh.pial.T1").read_bytes()).hexdigest()


def test_a_tar_without_top_folder_is_named_after_the_file(whole_subject, tmp_path):
    archive = tmp_path / "P7.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(whole_subject, ".")
    source = only(archive)
    assert (source.claims.subject, source.archived, errors(source)) == ("P7", False, [])
    assert {f.name.partition("/")[0] for f in source.files} == {"P7"}


def test_a_base_goes_to_the_subject_of_its_time_points(subject):
    (subject / "base-tps").write_text("sub-001_ses-1\nsub-001_ses-2\n")
    source = only(subject)
    assert (source.claims.subject, source.claims.resource, source.level) == ("001", "FREESURFER7_BASE", Level.SUBJECT)
    (subject / "base-tps").write_text("P1_MR1\nP1_MR2\n")
    assert errors(only(subject)) == ["FS20"]
    assert only(subject, template=("{subject}_{session}",)).claims.subject == "P1"


def test_deep_reading_finds_what_headers_hide(subject, formats):
    norm = bytearray(formats.mgh())
    norm[len(norm) // 2] ^= 0xFF
    (subject / "mri/norm.mgz").write_bytes(norm)
    assert errors(only(subject)) == []
    assert errors(only(subject, deep=True)) == ["FS04"]


def test_deep_reading_looks_at_labels_mask_and_thickness(subject, formats):
    labelled = bytearray(gzip.decompress(formats.mgh()))
    for label in range(40):
        labelled[284 + label] = label
    (subject / "mri/aseg.mgz").write_bytes(gzip.compress(labelled, 1))
    (subject / "label/lh.cortex.label").write_text("#!ascii label\n2\n0 1 2 3 0\n7 1 2 3 0\n")
    told = {(f.id, f.file): (f.found, f.expected) for f in only(subject, deep=True).findings}
    assert told["FS06", "mri/brainmask.mgz"] == ("0.0 %", "99 % or more")
    assert ("FS06", "mri/aseg.mgz") not in told, "39 labels are enough"
    assert told["FS10", "surf/lh.thickness"] == ("100.0 %", "less than 5 %")
    (subject / "mri/brainmask.mgz").write_bytes(gzip.compress(labelled, 1))
    assert "FS06" not in ids(only(subject, deep=True).findings)


def test_deep_reading_finds_faces_of_vertices_that_are_not_there(subject, formats):
    white = bytearray(formats.surface())
    white[-4:] = struct.pack(">i", 12)
    (subject / "surf/lh.white").write_bytes(white)
    assert errors(only(subject)) == []
    assert errors(only(subject, deep=True)) == ["FS04"]


def test_a_surface_with_a_handle_is_doubted(subject, formats):
    for path in (subject / "surf").glob("lh.*"):
        if not path.is_symlink():
            path.write_bytes(
                formats.curvature(10) if path.suffix in {".thickness", ".curv", ".area"} else formats.surface(10)
            )
    (subject / "label/lh.aparc.annot").write_bytes(formats.annotation(10))
    told = [(f.file, f.found, f.expected) for f in only(subject).findings if f.id == "FS08"]
    assert sorted(told) == [("surf/lh.pial", "0", "2"), ("surf/lh.white", "0", "2")]


def test_a_damaged_member_is_found(whole_subject, tmp_path):
    archive = zipped(whole_subject, tmp_path / "s.zip")
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as packed:
        info = packed.getinfo("sub-001/stats/aseg.stats")
    content[info.header_offset + 30 + len(info.filename) + 200] ^= 0xFF
    archive.write_bytes(content)
    assert errors(only(archive)) == ["FS18"]


def test_archives_beside_folders(subject):
    zipped(subject, subject.parent / "sub-002.zip", prefix="sub-002")
    with zipfile.ZipFile(subject.parent / "papers.zip", "w") as packed:
        packed.writestr("a.pdf", b"x")
    discovery = discover(subject.parent)
    assert [(s.relative, s.claims.subject, s.archived) for s in discovery.sources] == [
        ("sub-001", "001", False),
        ("sub-002.zip", "002", True),
    ]
    assert ids(discovery.findings) == ["FS17", "PRV09"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["s.zip", "s.tar", "s.tgz", "s.tar.gz", "s.tar.xz"]),
    head=st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x1f\x8b\x08", bytes(1024)]),
    rest=st.binary(max_size=600),
)
def test_no_bytes_under_the_name_of_an_archive_raise(name, head, rest):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(head + rest)
        discovery = discover(path)
        assert any(finding.severity is Severity.ERROR for finding in discovery.all_findings)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(
            ["mri/orig.mgz", "surf/lh.white", "surf/lh.curv", "label/lh.aparc.annot", "stats/aseg.stats", "stats/lh.aparc.stats",
             "scripts/recon-all.log", "scripts/build-stamp.txt", "mri/transforms/talairach.xfm", "stats/lh.w-g.pct.stats"]
        ),
        st.binary(max_size=400) | st.sampled_from([b"# Measure a, b\n", b"# NRows 3\n# ColHeaders A B\n1 2\n", b"\xff\xff\xfe\n\n"]),
        min_size=1,
    )
)  # fmt: skip
def test_no_bytes_inside_a_subject_raise(files):
    with tempfile.TemporaryDirectory() as folder:
        for place in ("mri", "surf"):
            Path(folder, "P1", place).mkdir(parents=True)
        for name, content in files.items():
            path = Path(folder, "P1", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        assert only(Path(folder)).refused
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("P1/mri/x", b"")
            archive.writestr("P1/surf/x", b"")
            for name, content in files.items():
                archive.writestr(f"P1/{name}", content)
        Path(folder, "P1.zip").write_bytes(packed.getvalue())
        assert only(Path(folder, "P1.zip")).refused
