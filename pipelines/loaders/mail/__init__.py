"""What e-mail of every format shares: the parts of a message, and how it is written."""
