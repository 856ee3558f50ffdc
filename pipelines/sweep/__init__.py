"""Sweep: the settings of a pipeline searched together, nothing computed twice, and a report that says why."""
