"""Several clients push the same sessions in the same moment, to an archive that fails as a stock XNAT 1.8.11."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import xnatferry
from tests.e2e.conftest import write_image
from xnatferry import api
from xnatferry.planning.mapping import MappingRules
from xnatferry.testing import local_archive
from xnatferry.transfer.events import Proof

CLIENTS, SUBJECTS = 4, 6


@pytest.mark.parametrize("kind", ["MR", "EEG"])
def test_all_of_them_end_verified_and_nothing_is_there_twice(tmp_path, kind):
    for number in range(SUBJECTS):
        write_image(tmp_path / f"s{number}" / "T1w.nii.gz", seed=number)
    discovery, rules, gate = api.discover(tmp_path), MappingRules("P", session_type=kind), threading.Barrier(CLIENTS)

    def push(_):
        with xnatferry.connect(server=archive.url, user=archive.user, password=archive.password) as client:
            plan = api.plan(discovery, client.remote, rules)
            gate.wait(60)
            return api.push(plan, client.remote)

    with local_archive(strict=True) as archive:
        with ThreadPoolExecutor(CLIENTS) as pool:
            results = list(pool.map(push, range(CLIENTS)))
        for result in results:
            assert result.exit_code == 0, [receipt for receipt in result.receipts if receipt.exit_code]
            assert [verdict.proof for verdict in result.verdicts] == [Proof.DIGEST] * SUBJECTS
        with xnatferry.connect(server=archive.url, user=archive.user, password=archive.password) as client:
            listed = client.remote.read_project("P")
            assert (len(listed.subjects), len(listed.sessions)) == (SUBJECTS, SUBJECTS)
            assert api.plan(discovery, client.remote, rules).nothing_to_do
