"""Training in the engine: forward, loss, backward and update as one instruction table, run by one native call."""
