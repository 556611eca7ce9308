"""Pages for people: vehicles, stored scenes and training runs, read-only (docs/dashboard.md)."""
