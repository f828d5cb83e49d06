"""Audit of a results folder: each file by itself, then units against all tables, then plans against units."""
