"""Mixers: one file a way in which tokens take up those before them; without torch until one is built."""
