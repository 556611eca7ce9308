"""What is held about vehicles: deleting it, handing it out, and checking the log of access."""
