"""`python -m upcycle` is the `upcycle` command."""

from __future__ import annotations

from upcycle.cli import main

if __name__ == "__main__":
    main()
