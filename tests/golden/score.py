"""Play the recordings of XNAT 1.8.11 on a fresh archive; the last line is ``equal N, declared M, open K of T``.

    python tests/golden/score.py [--strict] [--only 'files-*'] [-v] [--changed]

``-v`` shows each difference that is not declared, ``--changed`` the lines by which open-differences.txt is to change.
"""

import argparse
import fnmatch
import sys
import tempfile
from pathlib import Path

from comparing import compared, declared, scenarios, score, still_open, verdicts
from conftest import golden_archive


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="name pattern of the scenarios or exchanges")
    parser.add_argument("-v", action="store_true", help="show the answers that differ")
    parser.add_argument("--changed", action="store_true", help="show what is new and what is gone")
    parser.add_argument("--strict", action="store_true", help="an archive as of serve --strict")
    options = parser.parse_args()
    exchanges = []
    scenario, _, step = options.only.partition("/")
    with tempfile.TemporaryDirectory() as folder, golden_archive(Path(folder), strict=options.strict) as archive:
        for path in scenarios():
            if fnmatch.fnmatch(path.stem, scenario):
                exchanges += [
                    one
                    for one in compared(archive.url, path)
                    if fnmatch.fnmatch(one.name, options.only if step else "*")
                ]
    rules, listed = declared(strict=options.strict), still_open()
    for one in exchanges:
        if options.v and not one.equal and one.name not in rules:
            print(f"{one.name}: {one.request[:160]}\n{one.text}")
        if options.changed and one.equal == (one.name in listed or one.name in rules):
            print(f"{'-' if one.equal else '+'} {one.name}")
    counts = verdicts(exchanges, strict=options.strict)
    print(
        f"of {counts['of 1.6.4']} exchanges that were recorded from 1.6.4 too, {counts['as 1.6.4']} are as it answered"
    )
    print(score(counts))


if __name__ == "__main__":
    sys.exit(main())
