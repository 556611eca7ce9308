"""The fleet's own certificate authority: who a vehicle, operator or server is, and who no longer is."""
