"""`selftest` on the local archive and on a server that loses files: it reports failures, and removes its data."""

import json

import pytest

from tests.faults.proxy import empty_200, running_proxy
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.selftest.run import PROBES, run_selftest
from xnatferry.testing import local_archive


@pytest.fixture
def site():
    with local_archive(strict=False) as archive:
        yield archive


def remote_of(archive, url=None):
    return Remote(Connection(url or archive.url, archive.user, Secret(archive.password)), pause=lambda _: None)


def test_all_needed_probes_pass_on_the_local_archive_and_nothing_is_left(ferry, site, tmp_path):
    report = tmp_path / "report.html"
    how = {"XNAT_HOST": site.url, "XNAT_USER": site.user, "XNAT_PASS": site.password}
    run = ferry("selftest", "-p", "SCRATCH", "-y", "--json", "--report", report, env=how)
    assert run.code == 0, run.err
    found = json.loads(run.out.splitlines()[-1])
    assert {probe["name"] for probe in found["probes"] if not probe["passed"]} == {"plugins"}
    assert [probe["name"] for probe in found["probes"]] == [probe.name for probe in PROBES]
    assert found["not_removed"] == []
    assert json.loads(report.with_suffix(".json").read_text(encoding="utf-8")) == found
    pages = report.read_text(encoding="utf-8") + report.with_suffix(".json").read_text(encoding="utf-8")
    assert site.password not in pages
    assert all(f">{probe.name}<" in pages for probe in PROBES)
    assert not list((site.root / "archive").glob("SCRATCH/arc001/*"))


def test_other_data_in_the_project_is_kept(site, tmp_path):
    from xnatferry.xnat.model import Address

    with remote_of(site) as remote:
        remote.ensure_project("MINE")
        remote.ensure_subject(Address("MINE", "s"))
        test = run_selftest(remote, "MINE", tmp_path)
        assert test.not_removed == []
        assert [row["label"] for row in remote.list_subjects("MINE")] == ["s"]


def test_a_server_that_loses_files_fails_with_the_consequence(site, tmp_path):
    with running_proxy(site.url) as proxy, remote_of(site, proxy.url) as remote:
        proxy.fail("PUT", r"/files/T1w_", empty_200, times=999)
        test = run_selftest(remote, "SCRATCH", tmp_path)
    results = {result.name: result for result in test.results}
    assert not results["push"].passed
    assert results["push"].consequence == "Do not push to this server."
    assert results["conflict"].passed
    assert test.exit_code == 1


def test_a_project_that_cannot_be_used_is_refused(ferry, tmp_path):
    assert ferry("selftest", "-p", "a b", "-y").code == 2
    assert ferry("selftest", "-p", "P", "-y", "--report", tmp_path / "x.txt").code == 2
