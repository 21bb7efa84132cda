"""What verifying integers needs beside npunet.verify: the causes of a wrong integer, and the score of a bundle.

`explain` gathers what a port made of its first wrong layer and asks every hypothesis; `hypotheses` re-runs a layer in
the ways in which a port may have gone wrong; `probes` and `reach` say at which values a fault shows at all; `score`
counts which faulty layers a bundle catches, and proves of the others that no input tells them from the right ones.
"""
