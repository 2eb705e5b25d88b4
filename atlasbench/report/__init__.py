"""Findings to tables, pictures and files. Computes nothing. Imports core."""
