"""What holds for all tests: names that are the same in every process, and examples that are the same in every run."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os

import pytest
from hypothesis import settings

# How fast this computer is just now is no property of the code. New examples are looked for by `make torture`; a plain
# run tries the same ones each time, so that it fails for what was changed and not by chance.
settings.register_profile("unhurried", deadline=None, derandomize="XNATFERRY_TORTURE" not in os.environ)
settings.load_profile("unhurried")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many processes again as processors: for nearly half of the time tests wait for a disk or another process."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors + processors // 2


def pytest_make_parametrize_id(val: object) -> str | None:
    """A function is named by its name, not by its place in memory."""
    return val.__name__ if callable(val) and hasattr(val, "__name__") else None


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1, signed by itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
