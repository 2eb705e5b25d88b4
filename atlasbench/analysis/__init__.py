"""Records to findings: verdicts and frames, no printing. Imports core."""
