"""Conformance suites, one per component kind, for our own components and for those of plug-in authors."""
