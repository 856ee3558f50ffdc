"""Readers of corpora whose texts say where their topics end; each gives `segmenters.sectioned.Sectioned`."""
