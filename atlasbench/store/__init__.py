"""Record to line and line to record. Imports core."""
