"""Which growth law holds: fits, their power, verdicts. Imports core, registry and analysis.series; numpy and scipy."""
