"""Where a vehicle's scans come from."""
