"""The demonstration: a simulated fleet, real processes, a short training, AP before and after, an audit, one page."""
