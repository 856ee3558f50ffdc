"""The report of a study: what won, what it costs, why, and whether it could be chance; as a page, tables and text."""
