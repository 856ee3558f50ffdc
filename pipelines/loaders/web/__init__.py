"""Web pages: what of them is read, and the walk from their tree to the writer."""
