"""Training of small learned parts: what a method brings, the loop that all share, and checkpoints to go on from."""
