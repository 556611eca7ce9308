"""The gate: what an audit must have shown before vehicles are asked for features."""
