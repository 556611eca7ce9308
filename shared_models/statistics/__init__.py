"""What a dataset's scans look like in numbers, so that simulated ones can be held beside real ones."""
