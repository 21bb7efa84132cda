"""Signals and images to run a network on: real ones read from files, synthetic ones made with known labels.

One reader for each kind of file: read_mask, read_image, read_record (WFDB), read_table (.csv and its like). They refuse
what they cannot tell, and name the option that says it.
"""

from npunet.data.folders import VARIABLE, data_folder
from npunet.data.images import read_image
from npunet.data.masks import read_mask
from npunet.data.records import Record, read_record
from npunet.data.tables import read_table

__all__ = ["VARIABLE", "Record", "data_folder", "read_image", "read_mask", "read_record", "read_table"]
