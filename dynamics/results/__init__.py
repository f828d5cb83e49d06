"""Results on disk: schema, files, checksums, tables, audit."""
