"""Training: optimisers, schedules, the step, the loop around it, and checkpoints that resume to the same bits."""
