"""Every image finds the scan that is its own, and no two images get one scan."""

from pathlib import Path

import pytest

from xnatferry.planning.placement import Placement
from xnatferry.planning.remote_state import HeldFile, RemoteSession, RemoteState
from xnatferry.planning.scan_numbers import settle_scan_numbers
from xnatferry.sources.model import Kind, LocalFile, Source

A, B, C = "a" * 32, "b" * 32, "c" * 32


def image(digest=A, name="t1.nii", *, kind=Kind.NIFTI, **more):
    file = LocalFile(Path(digest[0]) / name, name, 10, 1, digest)
    options = {"subject": "s", "session": "e", "resource": "NIFTI", "session_type": "xnat:mrSessionData"}
    options |= {"scan": "1", "on_scan": True} | more
    return Placement(Source(kind, file.path, str(file.path), (file,)), **options)


def held(*places, digest=A, name="t1.nii", resource="NIFTI"):
    return {(scan, resource, name): HeldFile(10, digest) for scan in places}


def settled(placements, files=None, scans=None, *, gzip=False):
    """The scans of *placements*, in its order, where the server holds *files* and empty *scans*."""
    files = files or {}
    there = {scan: {} for scan, _, _ in files if scan is not None} | (scans or {})
    session = RemoteSession("s", "xnat:mrSessionData", there, files)
    remote = RemoteState("http://x", True, frozenset("s"), {"e": session})
    asked = []

    def same(_item, file, there, place):
        asked.append(place)
        return there.digest in {None, file.digest}

    found = settle_scan_numbers(placements, remote, [same], gzip=gzip)
    assert [item.source for item in found] == [item.source for item in placements]
    return [item.scan for item in found]


def test_an_image_goes_where_its_bytes_are_whatever_the_order():
    files = held("4", digest=A) | held("7", digest=B)
    assert settled([image(B), image(A)], files) == ["7", "4"]


def test_bytes_come_before_names():
    files = held("1", digest=C) | held("2", digest=A)
    assert settled([image(B), image(A)], files) == ["1", "2"], "the changed one takes the scan of its name that is left"


def test_the_smallest_number_comes_first_and_words_after_numbers():
    assert settled([image()], held("10", "2", "x")) == ["2"]
    assert settled([image()], held("x", "10")) == ["10"]
    assert settled([image()], held("y", "x")) == ["x"]
    assert settled([image(), image(), image()], held("x", "10", "2")) == ["2", "10", "x"], "one scan for each"


def test_a_claimed_number_is_nobody_elses():
    claimed = image(C, scan="2", numbered=True)
    assert settled([image(), claimed], held("2", "5")) == ["5", "2"]
    assert settled([image(B), claimed], held("2", digest=C)) == ["1", "2"]
    assert settled([image(B), claimed], held("1", digest=C, name="other.nii")) == ["3", "2"]


def test_new_images_get_the_free_numbers_one_each():
    files = held("1", "3", name="other.nii")
    assert settled([image(A), image(B, "t2.nii"), image(C, "bold.nii")], files) == ["2", "4", "5"]


def test_a_new_image_does_not_take_the_scan_that_another_one_finds():
    """The one that finds its scan comes last."""
    files = held("1", digest=B, name="t2.nii")
    assert settled([image(A), image(B, "t2.nii")], files) == ["2", "1"]


def test_what_shares_a_scan_shares_it():
    first, second = image(A, "a.nii", group="run1"), image(B, "b.nii", group="run1")
    assert settled([first, second, image(C, "c.nii", group="run2")], held("6", digest=B, name="b.nii")) == [
        "6",
        "6",
        "1",
    ]


@pytest.mark.parametrize("more", [{"on_scan": False, "scan": None}, {"session": "new"}])
def test_what_is_no_scan_or_in_a_new_session_stays_as_it_is(more):
    place = image(**more)
    assert settled([place], held("7")) == [place.scan]


# --- the same image in another resource, or compressed ---------------------------------------------------------------


def test_an_image_is_found_in_another_resource():
    assert settled([image()], held("7", resource="BIDS")) == ["7"]
    assert settled([image(B)], held("7", resource="BIDS")) == ["1"], "its name alone says nothing there"
    assert settled([image()], held("7", resource="BIDS", name="other.nii")) == ["1"]
    assert settled([image()], held("7", resource="BIDS", digest=None)) == ["1"], "there the bytes must be proven"
    assert settled([image()], held(None, resource="BIDS")) == ["1"], "a resource of the session is no scan"


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("name", ["t1.nii", "t1.nii.gz"])
def test_an_image_is_found_compressed_or_not(gzip, name):
    assert settled([image()], held("7", name=name), gzip=gzip) == ["7"]


def test_only_an_image_is_looked_for_elsewhere():
    assert settled([image(kind=Kind.FILES)], held("7", resource="BIDS")) == ["1"]


def test_elsewhere_too_each_scan_goes_to_one_image_the_smallest_number_first():
    files = held("10", resource="AAA") | held("2", resource="ZZZ") | held("x", resource="AAA")
    assert settled([image(), image(), image()], files) == ["2", "10", "x"]
    claimed = image(C, scan="2", numbered=True)
    assert settled([image(), claimed], held("2", resource="ZZZ")) == ["1", "2"]


# --- empty scans of an interrupted push ------------------------------------------------------------------------------


def test_an_empty_scan_is_taken_over_by_the_image_it_was_made_for():
    words = {"type": "T1w", "series_description": "mprage"}
    placements = image(scan_fields=words | {"note": "x"})
    assert settled([placements], scans={"1": {}, "5": words}) == ["1"], "nothing said otherwise"
    assert settled([placements], scans={"4": words | {"type": "T2w"}, "5": words}) == ["5"]
    assert settled([placements], scans={"4": words | {"series_description": "other"}, "5": words}) == ["5"]
    twin = image(B, scan_fields=words)
    assert settled([placements, twin], scans={"5": words}) == ["5", "1"], "one image a scan"
    assert settled([placements, twin], scans={"2": words, "5": words}) == ["2", "5"]
    assert settled([placements], held("5", name="other.nii"), scans={"5": words}) == ["1"], "it is not empty"
    assert settled([image(scan_fields={"note": "x"})], scans={"5": words}) == ["5"]


def test_an_empty_scan_does_not_go_to_two():
    claimed = image(C, scan="5", numbered=True)
    assert settled([image(scan_fields={"type": "T1w"}), claimed], scans={"5": {"type": "T1w"}}) == ["1", "5"]


def recording(name, digest, group, *, resource, events=C):
    """A recording of a dataset and its table of events, which share a scan."""
    files = [
        LocalFile(Path(f"{group}/{name}"), name, 10, 1, digest),
        LocalFile(Path(f"{group}/events.tsv"), "events.tsv", 5, 1, events),
    ]
    options = {"subject": "s", "session": "e", "session_type": "xnat:mrSessionData", "on_scan": True, "group": group}
    return [
        Placement(Source(Kind.BIDS, files[0].path, name, (file,)), resource=label, scan="1", **options)
        for file, label in zip(files, (resource, "BIDS"), strict=True)
    ]


def test_a_companion_is_no_proof_of_a_scan():
    """A repaired image with the events of a recording stays in its own scan."""
    files = held("1", digest=A, name="x.eeg", resource="EEG") | held("2", digest=A, name="x_bold.nii")
    files |= held("1", "2", digest=C, name="events.tsv", resource="BIDS")
    eeg = recording("x.eeg", B, "eeg", resource="EEG")
    bold = recording("x_bold.nii", B, "func", resource="NIFTI")
    assert settled([*bold, *eeg], files) == ["2", "2", "1", "1"]
    new = recording("y_bold.nii", B, "func", resource="NIFTI")
    assert settled([*new, *eeg], files) == ["3", "3", "1", "1"]


def test_both_halves_of_a_pair_are_the_image():
    files = held("1", "2", digest=A, name="x.hdr")
    files |= held("1", digest=B, name="x.img") | held("2", digest=C, name="x.img")
    halves = tuple(LocalFile(Path(f"d/x{end}"), f"x{end}", 10, 1, d) for end, d in ((".hdr", A), (".img", C)))
    options = {"resource": "NIFTI", "session_type": "xnat:mrSessionData", "scan": "1", "on_scan": True}
    pair = Placement(Source(Kind.NIFTI, halves[0].path, "d/x.hdr", halves), "s", "e", **options)
    assert settled([pair], files) == ["2"]
