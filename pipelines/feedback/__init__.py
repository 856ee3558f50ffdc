"""Stages that look at what came back, or at the answer, and let a part of the pipeline run again."""
