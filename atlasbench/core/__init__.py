"""What the words mean: values, their checks and pure arithmetic. Imports the standard library only."""
