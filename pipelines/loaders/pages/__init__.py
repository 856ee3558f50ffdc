"""From what stands where on a page to its text in reading order."""
