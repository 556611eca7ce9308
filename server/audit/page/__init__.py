"""The audit's report as one HTML page that needs no other file and no network, for people and for printing."""
