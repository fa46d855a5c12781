"""The pure core: what a message is, what an answer means, what follows. No I/O, no clock, no library."""
