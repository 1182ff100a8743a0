"""`python -m oneapi_mw.cli`."""

from __future__ import annotations

import sys

from oneapi_mw.cli import main

if __name__ == "__main__":
    sys.exit(main())
