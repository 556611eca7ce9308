"""A simulated world: streets of two countries, vehicles and people on them, and the sensors that drive through."""
