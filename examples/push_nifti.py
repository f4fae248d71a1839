"""Subjects, MR sessions, scans and their NIfTI files, step by step.

    python examples/push_nifti.py --server https://xnat.example.org --user me --project BRAIN FOLDER

FOLDER holds one folder a subject; every image in it becomes a scan, with the files that share its name:

    FOLDER/sub01/T1w.nii.gz
    FOLDER/sub01/dwi.nii.gz  dwi.bval  dwi.bvec

A second run stores nothing new, and says so. A file that differs on the server stops it: nothing is ever replaced.
"""

from argparse import ArgumentParser
from getpass import getpass
from pathlib import Path

import xnatferry

parser = ArgumentParser(description="Push NIfTI files, one folder a subject.")
parser.add_argument("folder", type=Path)
parser.add_argument("--server", required=True)
parser.add_argument("--user", required=True)
parser.add_argument("--password", help="asked for when it is not given")
parser.add_argument("--project", default="BRAIN")
parser.add_argument("--remove", action="store_true", help="take the sessions away again, with their files")
args = parser.parse_args()

with xnatferry.connect(args.server, args.user, args.password or getpass()) as xnat:
    xnat.ensure_project(args.project)
    for folder in sorted(path for path in args.folder.iterdir() if path.is_dir()):
        session = f"{args.project}/{folder.name}/{folder.name}_MR1"
        if args.remove:
            xnat.remove(session, remove_files=True)
            print(f"{session}  removed")
            continue

        xnat.ensure_session(session, xsi_type="xnat:mrSessionData")
        for image in sorted([*folder.glob("*.nii"), *folder.glob("*.nii.gz")]):
            name = image.name.partition(".")[0]
            scan = f"{session}/scans/{name}"
            fields = {"type": name, "series_description": name, "quality": "usable"}
            xnat.ensure_scan(scan, xsi_type="xnat:mrScanData", fields=fields)
            there = {file.name for file in xnat.list_files(f"{scan}/resources/NIFTI")}
            for path in sorted(folder.glob(f"{name}.*")):
                stored = xnat.put_file(path, f"{scan}/resources/NIFTI", format="NIFTI", content="NIFTI_RAW")
                done = "is there" if path.name in there else "stored"
                print(f"{scan}  {stored.name}  {stored.size_bytes} bytes  {done}")
