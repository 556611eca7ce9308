"""Networks of the learned attacks, and what their training shares."""
