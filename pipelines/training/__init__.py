"""What `fovea train` trains: one module a kind."""
