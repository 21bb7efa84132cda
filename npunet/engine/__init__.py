"""The engine: a network as a table of instructions and the one compiled function that runs it."""
