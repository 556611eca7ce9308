"""The `upcycle` command and what spans vehicles and server: parity and demonstration."""
