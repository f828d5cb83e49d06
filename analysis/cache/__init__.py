"""What analyses keep: tables, and arrays of single steps, under hashes of what they are computed from; and workers."""
