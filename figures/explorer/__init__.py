"""The explorer: an interactive view of the results, in the report's page, that opens from disk."""
