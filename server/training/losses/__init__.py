"""Loss functions: one pure function each, computed in float32 or wider whatever the network's precision."""
