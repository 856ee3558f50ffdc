"""Keeping a store in step with folders while they change."""
