"""Questions that go on from others: what was said before, and a follow-up question rewritten to stand alone."""
