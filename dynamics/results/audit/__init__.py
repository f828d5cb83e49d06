"""Whether a results folder is sound: each file by itself, then units against all tables, then plans against units."""
