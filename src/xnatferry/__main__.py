"""``python -m xnatferry``."""

from __future__ import annotations

import sys

from xnatferry.cli import main

sys.exit(main())
