"""An archive with something to look at, and a headless Chromium that looks at it.

Chromium is the system's: playwright's own download is not needed. Where there is none, these tests are skipped and say
so; with ``XNATFERRY_BROWSER=required`` (continuous integration) they fail instead.
"""

import json
import os
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import httpx2
import nibabel
import numpy as np
import pytest

from xnatferry.samples import write_to
from xnatferry.server.archive import running_archive
from xnatferry.server.pages import static

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
#: Software WebGL, so that the viewer draws without a graphics card; and nothing that asks the network.
_FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
SESSIONS = 57
NASTY = "<img src=x onerror=document.title='owned'>"


@dataclass
class Site:
    """The archive that is looked at."""

    url: str
    running: object
    data: Path
    sessions: int = SESSIONS

    def http(self, user="admin", password="admin-secret"):
        return httpx2.Client(base_url=self.url, auth=(user, password), timeout=60)


def pytest_collection_modifyitems(items):
    """All tests of this folder share one archive and one browser, so one process runs them."""
    for item in items:
        if "tests/web" in str(item.path):
            item.add_marker(pytest.mark.xdist_group("web"))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    data = tmp_path_factory.mktemp("web-data")
    write_to(data / "samples")
    with running_archive(tmp_path_factory.mktemp("web") / "archive", admin_password="admin-secret") as running:
        found = Site(running.url, running, data)
        with found.http() as http:
            _fill(http)
            _brain(http, data)
            _nasty(http)
        yield found


def _fill(http):
    """Project MANY: more sessions than a page shows, of two modalities, over some months."""
    assert http.put("/data/projects/MANY?accessibility=private").status_code == 200
    for number in range(SESSIONS):
        kind = "pet" if number % 10 == 0 else "mr"
        query = {"xsiType": f"xnat:{kind}SessionData", "date": f"2024-{number % 9 + 1:02d}-03"}
        where = f"/data/projects/MANY/subjects/S{number:03d}/experiments/S{number:03d}_{kind.upper()}1"
        assert http.put(where, params=query).status_code in {200, 201}
    http.put(
        "/data/projects/MANY/subjects/S001/experiments/S001_MR1/resources/BIG/files/big.bin?inbody=true",
        content=b"x" * 50_000,
    )


def _brain(http, data):
    """Project BRAIN: a T1, a series, and a FreeSurfer session with label map, surfaces and values."""
    assert http.put("/data/projects/BRAIN").status_code == 200
    session = "/data/projects/BRAIN/subjects/colin27/experiments/colin27_MR1"
    assert http.put(session, params={"xsiType": "xnat:mrSessionData", "date": "2024-05-17"}).status_code == 201
    samples = data / "samples" / "nifti"
    for scan, kind, path in (("1", "T1w", "colin27/T1w.nii.gz"), ("2", "bold", "walker/bold.nii")):
        scan_url = f"{session}/scans/{scan}"
        http.put(scan_url, params={"xsiType": "xnat:mrScanData", "type": kind, "quality": "usable"})
        name = Path(path).name
        stored = http.put(f"{scan_url}/resources/NIFTI/files/{name}?inbody=true", content=(samples / path).read_bytes())
        assert stored.status_code == 200
    small = {
        "notes.txt": b"plain words\n",
        "side.json": json.dumps({"RepetitionTime": 2.0}).encode(),
        "table.tsv": b"name\tvalue\nhippocampus\t4000\n",
        "empty.txt": b"",
        "bytes.bin": bytes(range(256)),
    }
    for name, content in small.items():
        stored = http.put(f"{session}/resources/TEXTS/files/{name}", files={"file": (name, content)})
        assert stored.status_code == 200, stored.text
    receipt = {
        "xnatferry_receipt": 1,
        "run": "20240517-push-BRAIN",
        "source": "samples",
        "exit_code": 0,
        "outcomes": {"stored": 1},
        "proofs": {"digest matched": 1},
        "receipts": [],
        "verdicts": [
            {
                "address": "BRAIN/colin27/colin27_MR1/scans/1/resources/NIFTI/files/T1w.nii.gz",
                "proof": "digest matched",
                "good": True,
            }
        ],
    }
    http.put(
        "/data/projects/BRAIN/resources/XNATFERRY/files/20240517-push-BRAIN.json?inbody=true",
        content=json.dumps(receipt).encode(),
    )
    _freesurfer(http, data / "fs")


def _freesurfer(http, folder):
    """Two balls as hemispheres in a block as brain: small, and every format is FreeSurfer's own."""
    folder.mkdir()
    session = "/data/projects/BRAIN/subjects/ball/experiments/ball_MR1"
    http.put(session, params={"xsiType": "xnat:mrSessionData"})
    grid = np.indices((40, 40, 40)) - 20
    inside = (grid**2).sum(axis=0) < 15**2
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = -60
    nibabel.save(nibabel.MGHImage(inside.astype(np.float32) * 100, affine), folder / "brain.mgz")
    labels = np.where(inside, np.where(grid[0] < 0, 3, 42), 0).astype(np.int32)
    nibabel.save(nibabel.MGHImage(labels, affine), folder / "aseg.mgz")
    points, faces = _ball()
    about = {
        "head": [2, 0, 20],
        "valid": "1  # volume info valid",
        "filename": "brain.mgz",
        "volume": [40, 40, 40],
        "voxelsize": [3.0, 3, 3],
        "xras": [-1.0, 0, 0],
        "yras": [0.0, 0, -1],
        "zras": [0.0, 1, 0],
        "cras": [0.0, 0, 0],
    }
    for side, shift in (("lh", -25), ("rh", 25)):
        nibabel.freesurfer.write_geometry(
            folder / f"{side}.pial", points * 24 + [shift, 0, 0], faces, "made for a test", about
        )
        nibabel.freesurfer.write_morph_data(folder / f"{side}.thickness", 2.5 + points[:, 1])
        colours = np.array([[220, 40, 40, 0, 0], [40, 220, 40, 0, 0]])
        nibabel.freesurfer.write_annot(
            folder / f"{side}.aparc.annot", (points[:, 2] > 0).astype(int), colours, ["low", "high"], fill_ctab=True
        )
    places = {"mgz": "mri", "pial": "surf", "thickness": "surf", "annot": "label"}
    for path in sorted(folder.iterdir()):
        name = f"ball/{places[path.name.rpartition('.')[2]]}/{path.name}"
        stored = http.put(f"{session}/resources/FREESURFER7/files/{name}?inbody=true", content=path.read_bytes())
        assert stored.status_code == 200, stored.text


def _ball(rows=24):
    """Points and triangles of a unit sphere, row by row."""
    theta = np.linspace(0.05, np.pi - 0.05, rows)
    phi = np.linspace(0, 2 * np.pi, rows, endpoint=False)
    points = np.array([[np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)] for t in theta for p in phi])
    faces = []
    for row in range(rows - 1):
        for column in range(rows):
            a, b = row * rows + column, row * rows + (column + 1) % rows
            faces += [[a, a + rows, b], [b, a + rows, b + rows]]
    return points, np.array(faces)


def _nasty(http):
    """Project NASTY: markup wherever text of a user may stand."""
    http.put("/data/projects/NASTY", params={"description": NASTY, "name": f"N{NASTY}"})
    session = "/data/projects/NASTY/subjects/S/experiments/E"
    http.put("/data/projects/NASTY/subjects/S", params={"group": NASTY})
    http.put(session, params={"xsiType": "xnat:mrSessionData", "note": NASTY})
    http.put(
        f"{session}/scans/1",
        params={"xsiType": "xnat:mrScanData", "type": NASTY, "series_description": NASTY, "note": NASTY},
    )
    name = NASTY.replace("/", "")
    stored = http.put(f"{session}/scans/1/resources/R/files/{name}.txt?inbody=true", content=NASTY.encode())
    assert stored.status_code == 200, stored.text
    http.put(
        f"{session}/scans/1/resources/R/files/x.svg?inbody=true",
        content=b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='owned'</script></svg>",
    )
    http.put(f"{session}/scans/1/resources/R/files/x.tsv?inbody=true", content=f"a\t{NASTY}\n{NASTY}\tb\n".encode())


@pytest.fixture(scope="session")
def browser():
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        words = "no Chromium on this computer: install it (apt-get install chromium) to test the pages"
        if os.environ.get("XNATFERRY_BROWSER") == "required":
            pytest.fail(words)
        pytest.skip(words)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def stranger(browser, site):
    """A page in a browser that nobody has logged in with; what its console complains about fails the test."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda said: said.type in {"error", "warning"} and page.complaints.append(said.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (page.complaints.append("dialog"), dialog.dismiss()))
    yield page
    complaints = [text for text in page.complaints if "GPU stall" not in text and "swiftshader" not in text.lower()]
    context.close()
    assert complaints == []


@pytest.fixture
def page(stranger, site):
    """The same, logged in as administrator."""
    with httpx2.Client(base_url=site.url) as http:
        cookie = http.get("/data/JSESSION", auth=("admin", "admin-secret")).text
    stranger.context.add_cookies([{"name": "JSESSIONID", "value": cookie, "url": site.url}])
    return stranger


@pytest.fixture(scope="session")
def bundle():
    """The viewer's bundle, or a skip that says how to get it."""
    if not static.is_there(static.VIEWER_BUNDLE):
        pytest.skip("the viewer's bundle is not there: 'make viewer' fetches it with npm")
    return files("xnatferry.server.pages") / "static" / static.VIEWER_BUNDLE
