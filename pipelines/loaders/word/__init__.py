"""Word documents: their parts, styles and numbers, and the walk from their XML to the writer."""
