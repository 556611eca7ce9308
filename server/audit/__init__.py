"""What stored features give away: threat models, attacks, measures. Never a verdict of "safe"."""
