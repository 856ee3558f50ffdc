"""Training of the learned segmenters: one file a method, one loop for all. Needs torch; nothing here runs on import."""
