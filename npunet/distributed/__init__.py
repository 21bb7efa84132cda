"""One network on many cores or machines, by Dask: large arrays in blocks, databases record by record.

Needs the extra "distributed": pip install 'npunet[distributed]'.
"""

from npunet.distributed.blocks import map_blocks
from npunet.distributed.halo import Halo, halos
from npunet.distributed.map_arrays import map_zarr

__all__ = ["Halo", "halos", "map_blocks", "map_zarr"]
