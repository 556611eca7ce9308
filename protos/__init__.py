"""Wire messages between vehicle and server, and their conversion from and to records."""
