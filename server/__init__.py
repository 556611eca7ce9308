"""The server: receives scenes from vehicles, keeps them, and trains on them."""
