"""How good a segmentation is: sample by sample, event by event, object by object."""
