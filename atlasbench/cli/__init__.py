"""The command line: one thin file a command: parse, call, render. Imports everything below, inside its functions."""
