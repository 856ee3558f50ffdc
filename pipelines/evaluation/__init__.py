"""Evaluation: gold questions, what a pipeline did with them, and how good that was."""
