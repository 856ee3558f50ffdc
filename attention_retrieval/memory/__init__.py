"""Texts read once: caches kept in files, placed behind one another for a question, and searched."""
