"""What holds for all tests: names that are the same in every process, and examples that are the same in every run."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os

import pytest
from hypothesis import Phase, settings

# How fast this computer is just now is no property of the code. New examples are looked for by `make torture`; a plain
# run tries the same ones each time, so that it fails for what was changed and not by chance.
# `make mutants` asks only whether a test fails, not for the smallest example.
settings.register_profile(
    "unhurried",
    deadline=None,
    derandomize="XNATFERRY_TORTURE" not in os.environ,
    phases=[phase for phase in Phase if phase is not Phase.shrink or "XNATFERRY_MUTANTS" not in os.environ],
)
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
def disk_acts(monkeypatch):
    """What the operating system is asked for, in order: ("fsync" or "name", inode); a name is a rename or a link.

    The system is asked as always; only its order can tell what a power cut would leave.
    """
    acts = []
    fsync = os.fsync

    def flushed(descriptor):
        acts.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flushed)

    def named(real):
        def call(source, *rest, **options):
            acts.append(("name", os.lstat(source).st_ino))
            real(source, *rest, **options)

        return call

    for name in ("rename", "replace", "link"):
        monkeypatch.setattr(os, name, named(getattr(os, name)))
    return acts


@pytest.fixture
def outlives_a_power_cut(disk_acts):
    """Whether a file was flushed, then got its name, then its folder was flushed."""

    def check(path):
        inode, folder = path.stat().st_ino, path.parent.stat().st_ino
        acts = iter(disk_acts)
        return all(act in acts for act in (("fsync", inode), ("name", inode), ("fsync", folder)))

    return check


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
