"""The live tests that pyxnat, xnatpy and xnatctl keep of themselves, as they come in their distributions.

The first run asks PyPI for those of xnatpy and xnatctl; what is needed of them stays in pytest's cache folder. Every test that is
not expected to pass stands in a table with its reason, and one that passes all the same is a failure as well.

Not run: tests that mock the server (they test the client), and what ``left_out`` says.
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import httpx2
import pytest

from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PASSWORD = "admin-secret"


@dataclass(frozen=True)
class Suite:
    """Live tests of one client.

    Attributes:
        package: Its name on PyPI.
        version: The version that the tests are of; it must be the one that is installed.
        sha256: Of the source distribution.
        folders: Folders of it that hold the tests.
        left_out: Files that are not run, with the reason.
        fail: Patterns of tests that are expected not to pass, with the reason.
        passed: How many tests pass.
    """

    package: str
    version: str
    sha256: str
    folders: tuple[str, ...]
    left_out: dict[str, str]
    fail: dict[str, str]
    passed: int


XNATPY = Suite(
    package="xnat",
    version="0.8.1",
    sha256="da153e7d4bb4e7c1becff79c9dc4097750f56f77bef4aa5b9c2c446fe54f59ad",
    folders=("xnat/tests/functional_tests", "xnat/tests/remote_server"),
    left_out={"test_import.py": "imports DICOM sessions, which the archive does not read (2 tests, 75 MB of images)"},
    fail={
        "test_server_custom_variables.test_custom_variables": "reads the definitions of custom variables, which are"
        " made on XNAT's web pages and kept in study protocols; the archive keeps the values only",
    },
    passed=16,
)

_ANONYMIZE = "scripts that anonymize DICOM (/xapi/anonymize, /data/config): there is no DICOM to anonymize"
_EVENTS = "the event service (/xapi/events) starts pipelines of the site: absent"
_SCP = "receivers that scanners send DICOM to (/xapi/dicomscp): absent"
_IMPORT = "imports a DICOM session, which the archive does not read"

XNATCTL = Suite(
    package="xnatctl",
    version="0.6.0",
    sha256="f939286eb65050c04290c833721a89a2dd314ed82074b28132105d420a68644a",
    folders=("tests/integration",),
    left_out={"test_dicom_tls.py": "sends DICOM to a receiver of its own, not to XNAT (3 tests)"},
    fail={
        "test_anon.TestSiteScript.*": _ANONYMIZE,
        "test_anon.TestProjectScript.test_unset_project_script_returns_none": _ANONYMIZE,
        "test_anon.TestProjectScript.test_set_and_get_project_script_round_trips": _ANONYMIZE,
        "test_anon.TestProjectScript.test_enable_disable_requires_a_script_first": _ANONYMIZE,
        "test_anon.TestProjectScript.test_disabled_project_script_is_distinguishable_from_never_set": _ANONYMIZE,
        "test_container_service.*": "the Container Service is a plugin of XNAT",
        "test_golden_path.TestContainerServicePlugin.*": "the Container Service is a plugin of XNAT",
        "test_events.*": _EVENTS,
        "test_golden_path.TestRoundTrip.*": _IMPORT,
        "test_golden_path.TestPrearchive.*": _IMPORT,
        "test_scp.TestListAndIdentifiers.test_list_scps_returns_at_least_the_default_receiver": _SCP,
        "test_scp.TestListAndIdentifiers.test_list_identifiers_includes_the_default_object_identifier": _SCP,
        "test_scp.TestCreateAndDelete.test_create_then_get_then_delete": _SCP,
        "test_scp.TestCreateAndDelete.test_create_does_not_validate_port_server_side": _SCP,
        "test_scp.TestEnableDisable.test_enable_disable_round_trips_without_touching_other_fields": _SCP,
    },
    passed=25,
)

_PROVENANCE = "keeps processing steps in the form of BIRN's schema, which the archive does not know"

PYXNAT = Suite(
    package="pyxnat",
    version="1.6.4",
    sha256="",  # its tests are part of what is installed
    folders=("pyxnat/tests",),
    left_out={},
    fail={
        "custom_variables_test.test_04_add_custom_variables": "makes definitions of custom variables, which XNAT keeps in"
        " study protocols; the archive keeps the values only",
        "interfaces_test.test_version": "wants a server of version 1.7.6",
        "prearchive_test.test_prearchive_status": "wants a session in the prearchive, which is empty here",
        "provenance_test.test_provenance": _PROVENANCE,
        "resources_test.test_provenance": _PROVENANCE,
        "repr_test.test_info_project": "wants the numbers and times of a project of its authors",
        "attributes_test.test_06_list_project_attrs": "lists the fields of 1.7; 1.8 has custom_fields",
        "repr_test.test_info_resource": "wants a resource of 2 GB, by its number",
    },
    passed=89,
)

#: The fixtures that xnatpy's distribution lacks.
XNATPY_CONFTEST = """
import os

import pytest
import xnat


@pytest.fixture(scope="session")
def xnat4tests_connection():
    with xnat.connect(os.environ["FUNCTIONAL_URL"], user="admin", password="admin-secret") as connection:
        yield connection


@pytest.fixture(scope="session")
def test_server_url():
    return os.environ["REMOTE_URL"]  # its login stands in .netrc


@pytest.fixture(scope="session")
def test_server_connection(test_server_url):
    with xnat.connect(test_server_url) as connection:
        yield connection


@pytest.fixture
def test_server_project(test_server_connection):
    return test_server_connection.projects["xnatpy_test_data"]
"""

PYTEST_INI = """
[pytest]
addopts = -p no:cacheprovider -W ignore
markers =
    integration
    docker_test
    functional_test
    server_test
    timeout
"""


@pytest.fixture
def unpacked(request, tmp_path):
    """Copy the tests of a suite into a folder of this test; skips when PyPI cannot be reached."""

    def unpacked(suite):
        if importlib.metadata.version(suite.package) != suite.version:
            pytest.fail(f"{suite.package} {suite.version} should be installed: bring Suite and pyproject.toml together")
        cache = getattr(request.config, "cache", None)
        kept = cache.mkdir("own-suites") if cache else tmp_path
        tests = kept / f"{suite.package}-{suite.version}"
        if not tests.is_dir():
            sdist = _download(suite, tmp_path / "download")
            part = kept / f"{tests.name}.part"
            shutil.rmtree(part, ignore_errors=True)
            _extract(suite, sdist, part)
            part.replace(tests)
            sdist.unlink()
        folder = tmp_path / "suite"
        shutil.copytree(tests, folder, ignore=shutil.ignore_patterns(*suite.left_out))
        (folder / "pytest.ini").write_text(PYTEST_INI)
        return folder

    return unpacked


def _download(suite, folder):
    folder.mkdir()
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{suite.package}=={suite.version} --hash=sha256:{suite.sha256}\n")
    options = ["--no-deps", "--no-binary", suite.package, "--retries", "1", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(wanted), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        assert "HASHES" not in done.stderr, done.stderr
        last = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
        pytest.skip(f"the source of {suite.package} {suite.version} cannot be fetched from PyPI: {last}")
    (sdist,) = folder.glob("*.tar.gz")
    return sdist


def _extract(suite, sdist, into):
    into.mkdir()
    tops = [f"{suite.package}-{suite.version}/{folder}/" for folder in suite.folders]
    with tarfile.open(sdist) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".py") and (top := _first(tops, member.name)):
                target = into / Path(top).name / member.name.removeprefix(top)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())


def _first(tops, name):
    return next((top for top in tops if name.startswith(top)), None)


@contextmanager
def site(tmp_path, name, **settings):
    """An archive with the site id *name*, and a function that sends a PUT to it and insists on success."""
    root = tmp_path / name
    settings = ServerSettings(root=root, site_name=name, **settings)
    with (
        running_archive(root, admin_password=PASSWORD, settings=settings) as archive,
        httpx2.Client(base_url=archive.url + "/data", auth=("admin", PASSWORD)) as client,
    ):

        def put(path, **params):
            answer = client.put(path, params=params)
            assert answer.status_code in {200, 201}, (path, answer.text)

        yield archive, put


def run(suite, folder, tmp_path, **environment):
    """Run the tests in *folder* and compare them with what is expected."""
    report = tmp_path / "report.xml"
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    environment |= {"HOME": str(home), "PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--junit-xml={report}", "."]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    passed, others = set(), set()
    for case in ET.parse(report).iter("testcase"):
        parts = case.get("classname").split(".")
        start = next(number for number, part in enumerate(parts) if re.match(r"test_|\w+_test$", part))
        (others if len(case) else passed).add(".".join([*parts[start:], case.get("name")]))
    passed -= others  # one that fails when it is torn down is there twice
    known = {name: [pattern for pattern in suite.fail if fnmatchcase(name, pattern)] for name in passed | others}
    unexpected = sorted(name for name in others if not known[name])
    assert unexpected == [], done.stdout[-20_000:]
    assert sorted(name for name in passed if known[name]) == [], "these pass: take them out of the table"
    used = {pattern for name in others for pattern in known[name]}
    assert sorted(set(suite.fail) - used) == [], "there are no such tests"
    assert len(passed) == suite.passed, sorted(passed)


def test_xnatctl(unpacked, tmp_path):
    pytest.importorskip("xnatctl")
    folder = unpacked(XNATCTL)
    with site(tmp_path, "XNAT") as (archive, _):
        run(
            XNATCTL,
            folder,
            tmp_path,
            XNATCTL_TEST_URL=archive.url,
            XNATCTL_TEST_USER="admin",
            XNATCTL_TEST_PASS=PASSWORD,
            XNATCTL_TEST_READY_TIMEOUT="20",
        )


def test_xnatpy(unpacked, tmp_path):
    pytest.importorskip("xnat")
    folder = unpacked(XNATPY)
    (folder / "conftest.py").write_text(XNATPY_CONFTEST)
    with site(tmp_path, "Xnat4Tests") as (functional, put), site(tmp_path, "BMIAXNAT") as (remote, put_remote):
        seed_functional(put)
        seed_remote(put_remote, remote)
        netrc = tmp_path / "home" / ".netrc"
        netrc.parent.mkdir()
        netrc.write_text(f"machine {remote.url.partition('//')[2]}\nlogin admin\npassword {PASSWORD}\n")
        netrc.chmod(0o600)
        run(XNATPY, folder, tmp_path, FUNCTIONAL_URL=functional.url, REMOTE_URL=remote.url)


#: Of pyxnat's modules those that speak to the server that they are given, or to one that may be replaced by it.
PYXNAT_MODULES = (
    *("attributes", "custom_variables", "interfaces", "prearchive", "provenance", "repr", "resources", "search"),
    "user_and_project_management",
)


def test_pyxnat(tmp_path):
    """Its tests are in its wheel; the files that they put are only in its repository, so these are made up here."""
    tests = Path(importlib.util.find_spec("pyxnat").origin).parent / "tests"
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "pytest.ini").write_text(PYTEST_INI)
    with site(tmp_path, "XNAT", require_login=False) as (archive, put):
        for name in PYXNAT_MODULES:
            text = (tests / f"{name}_test.py").read_text()
            (folder / f"{name}_test.py").write_text(text.replace("https://www.nitrc.org/ir", archive.url))
        seed_pyxnat(put, archive, folder)
        run(PYXNAT, folder, tmp_path)


def seed_pyxnat(put, archive, folder):
    """The projects, the account and the files that pyxnat's tests look for."""
    put("/projects/pyxnat_tests", description="pyxnat CI tests", alias="pyxnat")
    put("/projects/pyxnat_tests/prearchive_code/4")
    put("/projects/pyxnat_tests/quarantine_code/0")
    for name in ("pyxnat_tests2", "nosetests", "nosetests3", "nosetests4", "nosetests5", "OASIS3"):
        put(f"/projects/{name}")
    session = "/projects/pyxnat_tests/subjects/001/experiments/001_obscured"
    put("/projects/pyxnat_tests/subjects/001", ID="BBRCDEV_S02627", gender="unknown")
    put(session, ID="BBRCDEV_E03106", xsiType="xnat:mrSessionData")
    for number in ("11", "12", "13", "14"):
        put(f"{session}/scans/{number}", xsiType="xnat:mrScanData", type="SPGR", frames="175")
    put(f"{session}/resources/obscure_algorithm_output")
    put("/projects/ixi")
    for label in ("ixi002", "ixi012"):  # of one alone pyxnat's select.where takes the letters
        put(f"/projects/ixi/subjects/{label}")
    put("/projects/cs_schizbull08")
    session = "/projects/cs_schizbull08/subjects/s/experiments/s_MR"
    put(session, ID="xnat_E02579", xsiType="xnat:mrSessionData")
    put(f"{session}/scans/anat", xsiType="xnat:mrScanData", type="anat")
    put(f"{session}/assessors/s_QC", xsiType="xnat:qcManualAssessorData", **{"xnat:qcManualAssessorData/pass": "1"})
    with archive.archive.database.write() as connection:  # ids, times and the address that the tests name
        connection.execute("UPDATE accounts SET email = 'fake@fake.fake' WHERE login = 'admin'")
        connection.execute("UPDATE items SET id = 'xnat_E02580' WHERE label = 's_QC'")
        connection.execute("UPDATE items SET inserted = '2024-01-22 10:25:48.637' WHERE id = 'BBRCDEV_E03106'")
    login = json.dumps({"server": archive.url, "user": "admin", "password": PASSWORD})
    for name in (".devxnat.cfg", ".central.cfg", ".xnat.cfg"):
        (folder / name).write_text(login)
    (folder / "hello_xnat.txt").write_bytes(b"Hello XNAT!\n")
    (folder / "hello_again.txt").write_bytes(b"Hello again!\n")
    with zipfile.ZipFile(folder / "hello_dir.zip", "w") as archive:
        for name in ("hello_dir/hello_xnat_dir.txt", "hello_dir/hello_dir2/hello_xnat_dir2.txt"):
            archive.writestr(name, "Hello!\n")
    (folder / "sess.xml").write_text(
        '<xnat:MRSession xmlns:xnat="http://nrg.wustl.edu/xnat" label="10001_MR">'
        "<xnat:dcmPatientName>Alomar</xnat:dcmPatientName></xnat:MRSession>"
    )


def seed_functional(put):
    """What the ``xnat4tests`` package puts on its server, in its order: IDs are counted."""
    scans = {"2": "t1_mprage_sag_p2_iso_1", "6": "gre_field_mapping 3mm"}
    diffusion = {"13": "R-L MRtrix 60 directions interleaved B0 ep2d_diff_p2"}
    put("/projects/dummydicomproject")
    put("/projects/dummydicomproject/resources/COUNTED")  # the tests' numbers of resources leave one out
    put("/projects/TRAINING")
    _session(put, "/projects/dummydicomproject/subjects/dummydicomsubject", "dummydicomsession", scans | diffusion)
    for label in (
        *("CONT01_MR01", "CONT02_MR01", "CONT01_MR02", "CONT02_MR02"),
        *("TEST01_MR01", "TEST01_MR02", "TEST02_MR01", "TEST02_MR02"),
    ):
        _session(put, f"/projects/TRAINING/subjects/{label[:6]}", label, scans)


def _session(put, subject, label, scans):
    session = f"{subject}/experiments/{label}"
    put(subject)
    put(session, xsiType="xnat:mrSessionData")
    for number, kind in scans.items():
        put(f"{session}/scans/{number}", xsiType="xnat:mrScanData", type=kind)
        put(f"{session}/scans/{number}/resources/DICOM", format="DICOM")


def seed_remote(put, archive):
    """The project that xnatpy's authors keep on their own server, as far as their tests look at it."""
    project = "/projects/xnatpy_test_data"
    put(
        project,
        name="XNAPY_TEST_DATA",
        description="Test project with a fixed atomic dataset. The project will be used to test new release of the"
        " xnat python client xnatpy (https://xnat.readthedocs.io/).\r\n",
        pi_firstname="Hakim",
        pi_lastname="Achterberg",
        keywords="xnatpy testing",
        **{"xnat:projectData/PI/email": "h.achterberg@erasmusmc.nl"},
        **_fields("xnat:projectData", test_field1="42", test_field2="ni!"),
    )
    for label, subject, session in (
        ("ANONYMIZ", "BMIAXNAT_S72865", "BMIAXNAT_E203660"),
        ("Case001", "BMIAXNAT_S72862", "BMIAXNAT_E204715"),
    ):
        put(f"{project}/subjects/{label}", ID=subject)
        put(f"{project}/subjects/{label}/experiments/{label}", xsiType="xnat:mrSessionData", ID=session)
    demographics = "xnat:subjectData/demographics[@xsi:type=xnat:demographicData]"
    put(
        f"{project}/subjects/ANONYMIZ",
        dob="2026-03-14",
        education="5",
        gender="male",
        handedness="left",
        height="190",
        weight="100",
        race="Driver",
        **{f"{demographics}/height/units": "cm", f"{demographics}/weight/units": "kg"},
    )
    session = f"{project}/subjects/ANONYMIZ/experiments/ANONYMIZ"
    variables = {"test_int": "42", "test_enum": "foo", "test_date": "2025-04-21", "test_bool": "true"}
    put(session, **_fields("xnat:mrSessionData", test_string="some string", **variables))
    put(
        f"{session}/scans/6",
        xsiType="xnat:mrScanData",
        **{f"xnat:mrScanData/{path}": value for path, value in _SCAN.items()},
        **{f"xnat:mrScanData/parameters/{path}": value for path, value in _PARAMETERS.items()},
    )
    put("/projects/sandbox")
    put("/projects/sandbox/subjects/test/experiments/test", xsiType="xnat:mrSessionData")
    with archive.archive.database.write() as connection:  # they search by the day of insertion
        connection.execute("UPDATE items SET inserted = '2026-04-09 12:00:00.000' WHERE project = 'xnatpy_test_data'")


def _fields(xsi_type, **values):
    return {f"{xsi_type}/fields/field[name={name}]/field": value for name, value in values.items()}


_SCAN = {
    "type": "T1",
    "fieldStrength": "1.5",
    "frames": "192",
    "modality": "MR",
    "coil": "8HRBRAIN",
    "quality": "usable",
    "scanner/manufacturer": "GE MEDICAL SYSTEMS",
    "scanner/model": "SIGNA EXCITE",
}
_PARAMETERS = {
    "te": "2.752",
    "tr": "13.76",
    "ti": "400.0",
    "flip": "20",
    "imageType": r"ORIGINAL\\PRIMARY\\OTHER",
    "scanOptions": r"FAST_GEMS\\VB_GEMS\\EDR_GEMS\\VASCTOF_GEMS\\PFF",
    "seqVariant": r"SS\\SP\\SK",
    "pixelBandwidth": "48.8281",
    "scanSequence": "GR",
    "acqType": "3D",
    "orientation": "Tra",
    "voxelRes/x": "0.488281",
    "voxelRes/y": "0.488281",
    "voxelRes/z": "1.6",
    "fov/x": "512",
    "fov/y": "512",
}
