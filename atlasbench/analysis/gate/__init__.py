"""The gate's statistics and verdicts: values in, values out. Imports core."""
