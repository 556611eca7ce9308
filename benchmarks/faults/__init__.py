"""What breaks things on purpose: a proxy that breaks links, processes to be killed, full disks, mutated messages."""
