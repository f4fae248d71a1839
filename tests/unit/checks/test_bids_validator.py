"""The official validator: its report as findings; a program of its kind that gives none; the real one where it is."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from xnatferry.checks.bids_validator import PROGRAMS, find_validator, run_validator
from xnatferry.sources.bids.dataset import BidsChoices
from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Severity

DATA = Path(__file__).resolve().parents[2] / "data" / "bids"
#: The form of bids-validator-deno 3.0.2.
REPORT = {
    "issues": {
        "issues": [
            {"code": "EMPTY_FILE", "severity": "error", "location": "/sub-01/anat/sub-01_T1w.nii.gz"},
            {
                "code": "SIDECAR_WITHOUT_DATAFILE",
                "severity": "error",
                "location": "/b.json",
                "issueMessage": "no data\nmore",
            },
            {"code": "SIDECAR_WITHOUT_DATAFILE", "severity": "error", "location": "/a.json"},
            {"code": "JSON_KEY_RECOMMENDED", "severity": "warning", "location": "/dataset_description.json"},
        ]
    },
    "summary": {},
}


#: The form of bids-validator 1.14.14 (npm), as it reports on pet001, without stats of files.
_UNREADABLE = {"key": "NIFTI_HEADER_UNREADABLE", "severity": "error", "reason": "We were unable to parse header data."}
_T1W = "/sub-01/ses-01/anat/sub-01_ses-01_T1w.nii"
REPORT_OF_VERSION_1 = {
    "issues": {
        "errors": [
            {
                **_UNREADABLE,
                "files": [
                    {**_UNREADABLE, "code": 26, "file": {"name": _T1W[-21:], "relativePath": _T1W}, "line": None}
                ],
                "additionalFileCount": 0,
                "code": 26,
            }
        ],
        "warnings": [
            {"key": "README_FILE_MISSING", "severity": "warning", "reason": "No README.", "files": [{"file": None}]}
        ],
        "ignored": [],
    },
    "summary": {},
}


@pytest.fixture
def program(tmp_path):
    """A program that prints what it is told to."""

    def program(output):
        script = tmp_path / "validator"
        script.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(f'print({output!r})')}\n")
        script.chmod(0o755)
        return script

    return program


def told(report):
    return [(finding.id, finding.severity, finding.message.split(",")[0].split(":")[0]) for finding in report.findings]


def test_every_code_is_one_finding(program, tmp_path):
    report = run_validator(program(json.dumps(REPORT)), tmp_path, force=False, allow_incomplete=False)
    assert told(report) == [
        ("BIDS20", Severity.ERROR, "EMPTY_FILE"),
        ("BIDS20", Severity.ERROR, "SIDECAR_WITHOUT_DATAFILE"),
        ("BIDS21", Severity.WARNING, "JSON_KEY_RECOMMENDED"),
    ]
    assert "no data: a.json, b.json" in report.findings[1].message
    assert json.loads(report.content) == REPORT


@pytest.mark.parametrize(
    ("options", "errors"),
    [
        ({"force": True, "allow_incomplete": False}, 0),
        ({"force": False, "allow_incomplete": True}, 1),
    ],
)
def test_errors_are_warnings_when_the_user_says_so(program, tmp_path, options, errors):
    report = run_validator(program(json.dumps(REPORT)), tmp_path, **options)
    assert sum(finding.severity is Severity.ERROR for finding in report.findings) == errors
    assert len(report.findings) == 3


def test_the_report_of_an_older_validator_is_read(program, tmp_path):
    report = run_validator(program(json.dumps(REPORT_OF_VERSION_1)), tmp_path, force=False, allow_incomplete=False)
    assert told(report) == [
        ("BIDS20", Severity.ERROR, "NIFTI_HEADER_UNREADABLE"),
        ("BIDS21", Severity.WARNING, "README_FILE_MISSING"),
    ]
    assert report.findings[0].message.endswith(f"parse header data: {_T1W[1:]}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_either_program_on_the_search_path_is_run(program, tmp_path, monkeypatch, name):
    program(json.dumps(REPORT)).rename(tmp_path / name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    assert find_validator() == tmp_path / name
    found = discover(DATA / "pet001", bids=BidsChoices(validate=True)).findings
    assert {"BIDS20", "BIDS21"} <= {finding.id for finding in found}


def test_where_it_is_missing_a_note_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (note,) = [one for one in discover(DATA / "pet001", bids=BidsChoices(validate=True)).findings if one.id == "BIDS21"]
    assert note.severity is Severity.INFO
    assert "pip install 'xnatferry[bids-validator]'" in note.message
    assert "BIDS21" not in {one.id for one in discover(DATA / "pet001").findings}


@pytest.mark.parametrize("output", ["", "no json", "{}", "[]", '{"issues": {"issues": [{}]}}'])
def test_a_validator_without_a_report_stops_nothing(program, tmp_path, output):
    report = run_validator(program(output), tmp_path, force=False, allow_incomplete=False)
    assert [(finding.id, finding.severity) for finding in report.findings] == [("BIDS21", Severity.WARNING)]


def test_a_program_that_cannot_run_stops_nothing(tmp_path):
    report = run_validator(tmp_path / "gone", tmp_path, force=False, allow_incomplete=False)
    assert [finding.id for finding in report.findings] == ["BIDS21"]


@pytest.mark.skipif(find_validator() is None, reason="the official validator is not installed")
def test_the_real_one_stops_what_it_refuses_unless_forced():
    choices = BidsChoices(validate=True)
    stopped = discover(DATA / "pet001", bids=choices)
    assert "BIDS20" in {finding.id for finding in stopped.findings if finding.severity is Severity.ERROR}
    forced = discover(DATA / "pet001", bids=BidsChoices(validate=True, force=True))
    assert not [finding for finding in forced.findings if finding.severity is Severity.ERROR]
    (report,) = [source for source in forced.sources if source.claims.resource == "BIDS_VALIDATION"]
    assert json.loads(report.files[0].data)["issues"]
