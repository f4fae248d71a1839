"""The page about an import, from plans and outcomes made by hand."""

from pathlib import Path

import pytest

from tests.unit.reports.pages import Page
from xnatferry.errors import UsageError
from xnatferry.planning.plan import Decision, Payload, Plan, Refusal, Step
from xnatferry.reports.import_report import Import
from xnatferry.reports.import_tree import outline
from xnatferry.reports.thumbnails import draw_gallery
from xnatferry.sources.model import Finding, LocalFile, Severity
from xnatferry.transfer.events import Outcome, Proof, Receipt, Verdict
from xnatferry.transfer.runs import Run
from xnatferry.xnat.model import Address

IMAGES = Path(__file__).resolve().parents[2] / "data" / "nifti" / "nibabel"
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;</title><script>alert(2)</script>"


def local(path, name=None):
    stat = path.stat()
    return LocalFile(path, name or path.name, stat.st_size, stat.st_mtime_ns)


def steps(subject, *files, fields=None, decision=Decision.CREATE):
    """A subject with one scan, whose resource holds *files*."""
    scan = Address("P", subject, f"{subject}_MR1", "1")
    resource = Address("P", subject, f"{subject}_MR1", "1", resource="NIFTI")
    return [
        Step(Address("P", subject), decision),
        Step(Address("P", subject, f"{subject}_MR1"), decision, xsi_type="xnat:mrSessionData"),
        Step(scan, decision, xsi_type="xnat:mrScanData", fields={"type": "T1w", **(fields or {})}),
        Step(resource, decision),
        *(Step(Address("P", subject, f"{subject}_MR1", "1", resource="NIFTI", file=f.name), decision, payload=Payload(f)) for f in files),
    ]  # fmt: skip


def plan_of(*parts, **more):
    return Plan("https://xnat.example", "P", tuple(step for part in parts for step in part), **more)


def test_hostile_labels_names_and_messages_are_words_and_nothing_else():
    image = local(IMAGES / "anatomical.nii", f"{HOSTILE}.nii")
    plan = plan_of(
        steps(HOSTILE.replace("/", "_"), image, fields={"type": HOSTILE, "parameters/tr": HOSTILE}),
        steps("b", image, fields={"type": HOSTILE, "parameters/tr": "2000"}),
        refusals=(Refusal(HOSTILE, (HOSTILE,), Path("x")),),
        blocked=(Refusal(HOSTILE, (HOSTILE,), Path("x")),),
        findings=(Finding("NII23", Severity.WARNING, HOSTILE, Path(HOSTILE)),),
    )
    page = Page(Import(plan, command=HOSTILE, attributes={"verb": HOSTILE, "source": HOSTILE}).html())
    page.assert_self_contained()
    assert page.text.count("onerror=alert(1)") >= 10
    assert [image["alt"].count("onerror") > 0 for image in page.images] == [True, True]


def test_the_tree_counts_and_says_what_became_of_each_file():
    image = local(IMAGES / "anatomical.nii", "a.nii")
    plan = plan_of(steps("good", image), steps("bad", image), steps("never", image))
    addresses = {step.address.subject: step.address for step in plan.files}
    receipts = {
        addresses["good"]: Receipt(addresses["good"], Outcome.STORED, 77),
        addresses["bad"]: Receipt(addresses["bad"], Outcome.FAILED, message="the line was cut", exit_code=5),
    }
    verdicts = {addresses["good"]: Verdict(addresses["good"], Proof.DIGEST, 77)}
    good, bad, never = outline(plan, receipts, verdicts, ran=True)
    assert (good.files, good.size_bytes, good.verified, good.troubled) == (1, 77, 1, 0)
    assert (bad.files, bad.verified, bad.troubled) == (1, 0, 1)
    leaf = bad
    while leaf.branches:
        leaf = leaf.branches[0]
    assert (leaf.state.word, leaf.state.mood, leaf.state.note) == ("failed", "error", "the line was cut")
    assert never.troubled == 1
    text = Page(Import(plan, receipts=receipts, verdicts=verdicts, ran=True).html()).text
    assert "Errors" in text
    assert "the line was cut" in text


def test_of_a_large_resource_the_first_files_are_listed_and_all_that_went_wrong():
    image = IMAGES / "anatomical.nii"
    plan = plan_of(steps("s", *(local(image, f"{number:03}.txt") for number in range(100))))
    bad = plan.files[70].address
    (subject,) = outline(plan, {}, {bad: Verdict(bad, Proof.MISSING)}, ran=True)
    resource = subject.branches[0].branches[0].branches[0]
    assert (resource.files, resource.troubled, resource.hidden) == (100, 100, 87)
    assert resource.branches[-1].address == bad
    (subject,) = outline(plan, {}, {}, ran=False)
    resource = subject.branches[0].branches[0].branches[0]
    assert (len(resource.branches), resource.hidden) == (12, 88)


def test_the_odd_one_out_is_named_and_its_picture_marked():
    image = local(IMAGES / "anatomical.nii")
    usual = {f"parameters/voxelRes/{axis}": "1.0" for axis in "xyz"} | {"parameters/tr": "2000.0"}
    parts = [steps(f"s{n}", image, fields=usual) for n in range(6)]
    parts.append(steps("odd", image, fields={**usual, "parameters/voxelRes/z": "3.5"}))
    html = Import(plan_of(*parts)).html()
    page = Page(html)
    page.assert_self_contained()
    assert "1 \u00d7 1 \u00d7 3.5 mm" in page.text
    assert html.count('<figure class="odd">') == 1
    assert "odd_MR1 scan 1" in html.partition('<figure class="odd">')[2].partition("</figure>")[0]
    assert "2000 ms" in page.text
    assert len(page.images) == 7


def test_pictures_are_drawn_of_what_is_still_there_and_the_page_says_of_what_not(tmp_path):
    gone, changed = tmp_path / "gone.nii", tmp_path / "changed.nii"
    for path in (gone, changed):
        path.write_bytes((IMAGES / "anatomical.nii").read_bytes())
    files = [local(gone), local(changed), local(IMAGES / "anatomical.nii")]
    (tmp_path / "bad.nii").write_bytes(b"no image")
    files.append(local(tmp_path / "bad.nii"))
    plan = plan_of(*(steps(f"s{number}", file) for number, file in enumerate(files)))
    gone.unlink()
    changed.write_bytes(b"other")
    gallery = draw_gallery(plan)
    assert [thumbnail.name for thumbnail in gallery.thumbnails] == ["s2_MR1 scan 1"]
    assert gallery.thumbnails[0].data_uri.startswith("data:image/webp;base64,UklGR")
    notes = {thumbnail.name: thumbnail.note for thumbnail in gallery.missing}
    assert "no longer there" in notes["s0_MR1 scan 1"]
    assert "has changed" in notes["s1_MR1 scan 1"]
    assert "no picture" in notes["s3_MR1 scan 1"]
    assert "3 images without a picture" in Page(Import(plan).html()).text


def test_an_undo_has_no_report(tmp_path):
    with pytest.raises(UsageError, match="has no plan"):
        Import.of_run(Run(tmp_path, {"verb": "undo"}))
