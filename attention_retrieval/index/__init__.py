"""Indexes over one head's keys: `engine` is the contract, each `Engine` has a file, the other files are their parts."""
