"""A plan is read back as it was written: every field of it, whatever stands in it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.errors import UsageError
from xnatferry.planning.plan import Decision, OnConflict, Payload, Plan, Refusal, Step, Transport
from xnatferry.planning.plan_file import is_plan_file, plan_from_lines, plan_to_lines, read_plan, write_plan
from xnatferry.sources.model import Finding, LocalFile, Made, Scrub, ScrubKind, Severity
from xnatferry.xnat.model import Address

words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
labels = st.text("abcXYZ09_é+#%", min_size=1, max_size=6)
digests = st.text("0123456789abcdef", min_size=32, max_size=32)
sizes = st.integers(0, 2**40)
paths = st.builds(Path, st.text("abcé .", min_size=1, max_size=8))
fields = st.dictionaries(labels, words, max_size=3)
scrubs = st.builds(
    Scrub,
    st.sampled_from(ScrubKind),
    st.lists(words, min_size=1, max_size=2).map(tuple),
    sizes,
    sizes,
    st.booleans(),
    st.lists(st.tuples(words, words), max_size=2).map(tuple),
)
on_disk = st.builds(
    LocalFile,
    paths,
    labels,
    sizes,
    sizes,
    digest=st.none() | digests,
    member=st.none() | labels,
    made=st.none() | st.builds(Made, st.sampled_from(["ORIGINAL", "THUMBNAIL"]), digests),
    scrub=st.none() | scrubs,
)
payloads = st.builds(Payload, on_disk, st.booleans(), st.none() | digests) | st.builds(
    lambda path, name, data, held: Payload(LocalFile.written(path, name, data), held_digest=held),
    paths,
    labels,
    st.binary(max_size=20),
    st.none() | digests,
)
addresses = (
    st.builds(Address, labels)
    | st.builds(Address, labels, labels, labels, scan=labels)
    | st.builds(Address, labels, labels, labels, scan=st.none() | labels, resource=labels, file=labels)
)
steps = st.builds(
    Step,
    addresses,
    st.sampled_from(Decision),
    reason=words,
    xsi_type=words,
    fields=fields,
    changes=st.dictionaries(labels, st.tuples(words, words), max_size=2),
    transport=st.sampled_from(Transport),
    payload=st.none() | payloads,
)
refusals = st.builds(Refusal, words, st.lists(words, max_size=2).map(tuple), paths)
findings = st.builds(
    Finding,
    words,
    st.sampled_from(Severity),
    words,
    path=st.none() | paths,
    line=st.none() | sizes,
    file=words,
    found=words,
    expected=words,
)


def several(strategy):
    return st.lists(strategy, max_size=3).map(tuple)


plans = st.builds(
    Plan,
    words,
    labels,
    several(steps),
    refusals=several(refusals),
    findings=several(findings),
    on_conflict=st.sampled_from(OnConflict),
    blocked=several(refusals),
    local=st.booleans(),
)


@given(plans)
def test_a_plan_comes_back_as_it_was(tmp_path_factory, plan):
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    write_plan(plan, path, made="2026-01-31T12:00:00Z")
    assert is_plan_file(path)
    assert read_plan(path) == plan
    assert plan_from_lines(plan_to_lines(plan)) == plan
    assert header(path)["made"] == "2026-01-31T12:00:00Z"
    assert sorted(other.name for other in path.parent.iterdir()) == ["plan.json"]


def header(path):
    with path.open() as stream:
        return json.loads(next(stream))


IMAGE = LocalFile(Path("/data/t1.nii"), "t1.nii", 10, 1)
STEP = Step(Address.parse("P/s/e/scans/1/resources/NIFTI/files/t1.nii"), Decision.CREATE, payload=Payload(IMAGE))


def stored(tmp_path, *steps):
    path = tmp_path / "plan.json"
    write_plan(Plan("http://x", "P", steps), path, made="now")
    return path


def test_what_the_server_held_is_not_forgotten(tmp_path):
    """Without it, a file that somebody replaces before the push could not be told from the one that was planned on."""
    step = replace(STEP, decision=Decision.UPDATE, payload=Payload(IMAGE, held_digest="d" * 32))
    assert read_plan(stored(tmp_path, step)).files[0].payload.held_digest == "d" * 32


def test_bytes_that_are_on_no_disk_can_be_sent_from_the_stored_plan(tmp_path):
    written = LocalFile.written(Path("t1.nii"), "about.json", b'{"by": "xnatferry"}')
    (step,) = read_plan(stored(tmp_path, replace(STEP, payload=Payload(written)))).steps
    assert b"".join(step.payload.local.opener()) == b'{"by": "xnatferry"}'


def test_a_name_that_is_no_text_is_kept_as_it_is(tmp_path):
    """Such a file is refused, and the plan names it (PEP 383)."""
    plan = Plan("http://x", "P", (), refusals=(Refusal("caf\udce9.nii", ("no text",), Path("caf\udce9.nii")),))
    write_plan(plan, tmp_path / "plan.json", made="now")
    assert read_plan(tmp_path / "plan.json") == plan


def test_a_plan_of_an_older_version_is_read(tmp_path):
    """Until version 3 a plan was one JSON object; a journal of such a run can still be verified and undone."""
    plan = Plan(
        "http://x",
        "P",
        (STEP, replace(STEP, decision=Decision.SAME)),
        refusals=(Refusal("b.nii", ("no",), Path("b.nii")),),
        findings=(Finding("NII01", Severity.WARNING, "odd"),),
    )
    lists = {"step": "steps", "refusal": "refusals", "blocked": "blocked", "finding": "findings"}
    about, *records = map(json.loads, plan_to_lines(plan))
    old = {name: [r for r in records if r["record"] == kind] for kind, name in lists.items()}
    del about["records"]
    path = tmp_path / "plan.json"
    for version in (1, 2, 3):
        path.write_text(json.dumps(about | old | {"xnatferry_plan": version}, indent=1))
        assert is_plan_file(path)
        assert read_plan(path) == plan


@pytest.mark.parametrize("kept", range(1, 4))
def test_a_plan_that_was_cut_off_is_damaged(tmp_path, kept):
    path = stored(tmp_path, STEP, STEP, STEP)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:kept]))
    with pytest.raises(UsageError, match=f"damaged .*{kept - 1} of 3 records"):
        read_plan(path)
    path.write_text("".join(lines[:kept]) + lines[kept][:9])
    with pytest.raises(UsageError, match=f"damaged .*line {kept + 1}"):
        read_plan(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"xnatferry_plan": 5}', "version 5, this xnatferry reads 4"),
        ('{"xnatferry_plan": "4"}', "version 4, this"),
        ('{"xnatferry_plan": 1}', "damaged"),
        ('{"xnatferry_plan": 1, "steps": [{"address": 3}]}', "damaged"),
        ('{"xnatferry_plan": 4}\n{"record": "step", "address": "/"}', "damaged .line 2"),
        ('{"xnatferry_plan": 4}\n{"record": "stop"}', "damaged .line 2"),
        ('{"xnatferry_plan": 4}\n[]', "damaged .line 2"),
        ('{"steps": []}', "no stored plan"),
        ("[1]", "no stored plan"),
        ("not json", "not JSON"),
    ],
)
def test_what_is_no_plan_says_why(tmp_path, text, why):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=why) as caught:
        read_plan(path)
    assert str(path) in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(tmp_path / "nowhere.json")


@pytest.mark.parametrize("member", ["server", "local", "project", "on_conflict"])
def test_a_plan_without_one_of_its_members_is_damaged(tmp_path, member):
    path = stored(tmp_path, STEP)
    first, *rest = path.read_text().splitlines(keepends=True)
    found = json.loads(first)
    del found[member]
    path.write_text("\n".join([json.dumps(found), *rest]))
    with pytest.raises(UsageError, match=f"damaged .*{member}"):
        read_plan(path)


def test_a_plan_is_told_by_its_first_bytes(tmp_path):
    assert is_plan_file(stored(tmp_path, STEP))
    other = tmp_path / "other.json"
    other.write_text('{"steps": []}')
    assert not is_plan_file(other)
    assert not is_plan_file(tmp_path)
    assert not is_plan_file(tmp_path / "nowhere.json")
