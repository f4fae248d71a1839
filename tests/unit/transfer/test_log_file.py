"""The log of a run tells what happened, and no secret."""

import logging

from xnatferry.transfer.events import Outcome, Receipt
from xnatferry.transfer.log_file import RunLogFile, log_event
from xnatferry.xnat.model import Address


def test_secrets_of_others_are_struck_out(tmp_path):
    log = RunLogFile(tmp_path)
    try:
        logging.getLogger("xnatferry.somewhere").info(
            "asked https://me:hunter2@host/x with JSESSIONID=ABCDEF123; Authorization: Basic aGVsbG8= password=hunter2"
        )
        log_event(Receipt(Address("P"), Outcome.FAILED, message="no", exit_code=3))
    finally:
        log.close()
    text = (tmp_path / "run.log").read_text()
    assert "ERROR" in text
    assert "failed P no" in text
    for secret in ("hunter2", "ABCDEF123", "aGVsbG8="):
        assert secret not in text
    before = len(text)
    logging.getLogger("xnatferry.somewhere").error("afterwards")
    assert len((tmp_path / "run.log").read_text()) == before
