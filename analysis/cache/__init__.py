"""What analyses keep: tables and what is computed from one step, under hashes of what they read; and work in parallel."""
