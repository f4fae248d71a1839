"""Places of a BIDS dataset: labels, templates, options that would tear it apart, and its manifest."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.errors import UsageError
from xnatferry.planning.mapping import MappingRules, map_sources
from xnatferry.planning.selection import Selection
from xnatferry.sources.model import Claims, Kind, LocalFile, Source
from xnatferry.xnat.bids_manifest import BidsFile, ManifestError, read_manifest, write_manifest
from xnatferry.xnat.labels import decode_label, encode_label, label_problem
from xnatferry.xnat.model import Level


def part(name="x.txt", *, level=Level.SESSION, subject="01", session="02", resource="BIDS", **claims):
    local = LocalFile(Path(name), name, 3, 1, digest="d" * 32, tree_path=f"sub-{subject}/{name}")
    claims = Claims(subject=subject, session=session, resource=resource, session_type="MR", **claims)
    return Source(Kind.BIDS, Path(name), name, (local,), claims, level=level)


def mapped(*sources, **rules):
    found = map_sources(sources, MappingRules("P", **rules))
    assert not found.refusals, found.refusals
    assert not found.conflicting, found.conflicting
    return found.placements


@pytest.mark.parametrize(
    ("subject", "session", "rules", "labels"),
    [
        ("01", "02", {}, ("01", "01_02")),
        ("01", None, {}, ("01", "01_MR1")),
        ("A+B", "c", {}, ("A-x2B-B", "A-x2B-B_c")),
        ("A+B", "c", {"clean_labels": True}, ("A_B", "A_B_c")),
        ("01", "02", {"session_template": "sub-{sub}_ses-{ses}"}, ("01", "sub-01_ses-02")),
        ("01", "02", {"session_template": "{subject}_MR_{session}"}, ("01", "01_MR_02")),
        ("01", "02", {"session": "visit"}, ("01", "visit")),
    ],
)
def test_labels(subject, session, rules, labels):
    placements = mapped(part(subject=subject, session=session), **rules)[0]
    assert (placements.subject, placements.session) == labels


def test_every_holder_of_files_has_a_manifest_of_its_own():
    placements = mapped(
        part(level=Level.PROJECT), part(level=Level.SUBJECT), part("a.txt"), part("b.txt", level=Level.SCAN, group="g")
    )
    manifests = [item for item in placements if item.resource == "BIDS_MANIFEST"]
    assert [(item.subject, item.session, item.on_scan) for item in manifests] == [
        ("", "", False), ("01", "", False), ("01", "01_02", False),
    ]  # fmt: skip
    listed = read_manifest(manifests[-1].source.files[0].data)
    assert [(one.path, one.level) for one in listed] == [("sub-01/a.txt", "session"), ("sub-01/b.txt", "scan")]


def test_a_manifest_says_the_same_in_whatever_order_files_come():
    parts = [part("a.txt"), part("b.txt"), part("c.txt", level=Level.SCAN, group="g")]
    forth, back = mapped(*parts), mapped(*reversed(parts))
    assert forth[-1].source.files[0].data == back[-1].source.files[0].data


def test_what_shares_a_group_shares_a_scan():
    scans = [part(f"{g}{r}", level=Level.SCAN, group=g, resource=r) for g in ("one", "two") for r in ("NIFTI", "BIDS")]
    assert [item.scan for item in mapped(*scans) if item.on_scan] == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ({"resource": "X"}, "--resource"),
        ({"gzip": True}, "--gzip"),
        ({"type": "T1"}, "--type"),
        ({"subject": "x"}, "2 subjects"),
        ({"session": "x"}, "2 sessions"),
        ({"session_template": "{nobody}"}, "session template"),
    ],
)
def test_options_that_would_tear_a_dataset_apart_are_refused(rules, word):
    with pytest.raises(UsageError, match=word):
        map_sources([part(), part(subject="02")], MappingRules("P", **rules))


def test_labels_that_differ_in_case_alone_are_refused():
    found = map_sources([part(subject="a"), part(subject="A")], MappingRules("P"))
    assert len(found.refusals) == 2


def test_a_selection_keeps_what_the_chosen_share():
    everything = map_sources(
        [
            part(level=Level.PROJECT), part(level=Level.SUBJECT), part(subject="09", level=Level.SUBJECT),
            part(session="1"), part(session="2"), part(subject="09", session="1"),
        ],
        MappingRules("P"),
    )  # fmt: skip
    kept = Selection(only=("sub-01/ses-1",)).of(everything).placements
    assert {(item.subject, item.session) for item in kept} == {("", ""), ("01", ""), ("01", "01_1")}
    left = Selection(exclude=("09",)).of(everything).placements
    assert {item.subject for item in left} == {"", "01"}


@given(st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("-x2BDF")), min_size=1))
def test_encoded_labels_are_legal_and_turn_back(text):
    label = encode_label(text)
    assert decode_label(label) == text
    assert label_problem(label[:64]) is None or label == "Unassigned"


places = st.builds(
    BidsFile,
    path=st.text(min_size=1),
    size_bytes=st.integers(0, 10**12),
    digest=st.text("0123456789abcdef", min_size=32, max_size=32),
    level=st.sampled_from(["project", "subject", "session", "scan"]),
    resource=st.text(min_size=1),
    name=st.text(min_size=1),
)


@given(st.lists(places))
def test_a_manifest_is_read_as_it_was_written(files):
    assert read_manifest(write_manifest(files)) == sorted(files)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"bids_manifest": 3, "files": [], "written": []}', b'{"bids_manifest": 1}']
)
def test_other_files_are_no_manifest(content):
    with pytest.raises(ManifestError):
        read_manifest(content)
