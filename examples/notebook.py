"""A folder of images into XNAT through a plan, proven, brought back, taken away again: what one types in a notebook.

    python examples/notebook.py --server https://xnat.example.org --user me --project BRAIN FOLDER DEST

Each part between the lines `# %%` is a cell.
"""

# %% what is where
from argparse import ArgumentParser
from getpass import getpass
from pathlib import Path

import xnatferry

parser = ArgumentParser(description="Push a folder through a plan, pull it, undo it.")
parser.add_argument("folder", type=Path)
parser.add_argument("dest", type=Path)
parser.add_argument("--server", required=True)
parser.add_argument("--user", required=True)
parser.add_argument("--password", help="asked for when it is not given")
parser.add_argument("--project", default="BRAIN")
parser.add_argument("--runs", type=Path, help="folder for the journals of runs  [that of the command line]")
args = parser.parse_args()

# %% look at the data; no network
for finding in xnatferry.check(args.folder):
    print(finding.severity, finding.path, finding.message)

# %% log in, and decide; nothing is sent
xnat = xnatferry.connect(args.server, args.user, args.password or getpass())
plan = xnatferry.plan(xnatferry.discover(args.folder), xnat.remote, xnatferry.MappingRules(args.project))
print(len(plan.files), "files,", plan.sends_bytes, "bytes to send")

# %% carry it out, with bars
with (
    xnatferry.begin_run(plan, xnat.remote, source=str(args.folder), folder=args.runs) as run,
    xnatferry.progress(plan) as show,
):
    result = xnatferry.push(plan, xnat.remote, listener=show, journal=run)
    run.end(result.exit_code)
print("exit code", result.exit_code)

# %% prove it again: the server is asked anew
past = xnatferry.find_run(run.name, folder=args.runs)
proofs = [verdict.proof.value for verdict in xnatferry.verify_run(past, xnat.remote)]
print({proof: proofs.count(proof) for proof in sorted(set(proofs))})

# %% bring it back
pulled = xnatferry.pull(args.project, args.dest, xnat.remote)
print(len(pulled.receipts), "files fetched to", args.dest)

# %% undo the push
receipts = xnatferry.undo(past, xnat.remote, remove_project=True)  # XNAT never accepts its ID again
print(len(receipts), "objects removed")
xnat.close()
