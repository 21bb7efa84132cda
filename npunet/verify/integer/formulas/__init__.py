"""Faults that nobody listed: the text of an operator's formula is changed at one place after another, and run.

`texts` has every operator as the generated C has it, with the C's names; `machine` runs a text for chosen elements of
a port's output at once; `edits` changes one place in all the ways in which a port goes wrong; `search` tells which of
these changes give the port's integers, everywhere or in a part of the output; `words` says a change in the C's own
terms.
"""
