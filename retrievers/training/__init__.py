"""Training of learned retrievers and re-rankers: one file a method, named after the component."""
