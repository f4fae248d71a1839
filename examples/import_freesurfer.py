"""FreeSurfer results into XNAT, and all their numbers back in one table.

    python examples/import_freesurfer.py --server https://xnat.example.org --user me --project BRAIN SUBJECTS_DIR

Each subject folder, or a zip of one, travels as one archive and keeps its top folder, as readers of FreeSurfer results
expect: `BRAIN/sub01/sub01_MR1/resources/FREESURFER7/files/sub01/stats/aseg.stats`. Then every aseg.stats is read back
from the server, and one table of volumes in mm3 is written, one line a subject.
"""

import csv
import sys
from argparse import ArgumentParser
from getpass import getpass
from pathlib import Path
from tempfile import TemporaryDirectory

import xnatferry

parser = ArgumentParser(description="Import FreeSurfer subjects and collect their volumes.")
parser.add_argument("subjects_dir", type=Path)
parser.add_argument("--server", required=True)
parser.add_argument("--user", required=True)
parser.add_argument("--password", help="asked for when it is not given")
parser.add_argument("--project", default="BRAIN")
parser.add_argument("--resource", default="FREESURFER7")
parser.add_argument("--table", type=Path, default=Path("aseg.csv"))
args = parser.parse_args()


def volumes(stats: Path) -> dict[str, str]:
    """Every volume of an aseg.stats in mm3: the measures of its head, then its structures."""
    found = {}
    for line in stats.read_text().splitlines():
        if line.startswith("# Measure "):
            _, name, *_, value, _ = line.removeprefix("# Measure ").split(", ")
            found[name] = value
        elif line and not line.startswith("#"):
            _, _, _, volume, structure, *_ = line.split()
            found[structure] = volume
    return found


with xnatferry.connect(args.server, args.user, args.password or getpass()) as xnat, TemporaryDirectory() as folder:
    xnat.ensure_project(args.project)
    table = []
    for path in sorted(args.subjects_dir.iterdir()):
        if not (path / "stats").is_dir() and path.suffix != ".zip":
            continue
        subject = path.stem if path.suffix == ".zip" else path.name
        session = f"{args.project}/{subject}/{subject}_MR1"
        xnat.ensure_session(session)
        files = xnat.put_archive(path, f"{session}/resources/{args.resource}", format="MGZ", content="FREESURFER")
        print(f"{session}  {len(files)} files, {sum(file.size_bytes for file in files)} bytes are there")

        aseg = [file.name for file in files if file.name.endswith("/stats/aseg.stats")]
        if not aseg:
            print(f"{session}  has no aseg.stats: did recon-all finish?", file=sys.stderr)
            continue
        fetched = xnat.get_file(f"{session}/resources/{args.resource}/files/{aseg[0]}", folder)
        table.append({"subject": subject, **volumes(fetched)})

columns = list(dict.fromkeys(column for row in table for column in row))
with args.table.open("w", newline="") as stream:
    writer = csv.DictWriter(stream, columns)
    writer.writeheader()
    writer.writerows(table)
print(f"{args.table}  {len(table)} subjects, {max(0, len(columns) - 1)} volumes each")
