"""One network on many cores or machines, by Dask: large arrays in blocks, databases record by record.

    halo, windows, layout     what a block must see around itself for the bits of the whole, and where that stands
    blocks, map_arrays        a network over a Dask array; over a stored array into a zarr one
    tasks, done, results      records one by one: each result as it comes, noted, put in place when it is whole
    arrays, ome, tiff, remote what is read block by block, and from where
    cluster, carried          the workers, and the model that travels to them

Needs the extra "distributed": pip install 'npunet[distributed]'.
"""

from npunet.distributed.blocks import map_blocks
from npunet.distributed.halo import Halo, halos
from npunet.distributed.map_arrays import map_zarr

__all__ = ["Halo", "halos", "map_blocks", "map_zarr"]
