"""Readers of corpora whose texts say where their topics end; each gives `fovea.segmenters.sectioned.Sectioned`."""
