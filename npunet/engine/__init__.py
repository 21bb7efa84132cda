"""The engine: a network as a table of instructions, and one compiled function that walks it. This page is the map.

    plan       graph -> program: fused instructions, layouts, one arena, groups, schedule, packed weights   no Numba
    runtime    program -> results: machine code from disk, memory, threads, the engines that a model keeps  no Numba
    codegen    how LLVM instructions on vectors are emitted, and how functions are compiled                 Numba
    kernels    what each instruction does, and the interpreter                                              Numba
    training   the same division for a whole training step
    integer    the same division for int8 and 16x8 networks: planner, interpreter and threads are float's
    target.py  what is known of machines: registers, register tiles, prefetch, sizes of caches

Where the loops of a convolution are, from the outside in, and who owns each:

    for each sample:                                                runtime/engine, kernels/interpreter
      for each row block of the schedule:                           plan/schedule, plan/chains, plan/line_buffers
        for each share of rows, one a thread at a time:             kernels/shares
          for each cache block of a row:                            plan/blocking, kernels/convolution
            for each instruction of the group:                      plan/groups, kernels/convolution
              for each block of filters, packed as it is read:      plan/pack, kernels/convolution
                for each register tile, positions x vectors:        target.py, kernels/conv_tile (the micro-kernel)
                  for each tap, for each input channel:             kernels/tile_sums: the declared order
                    accumulators += broadcast(x) * vector(w)
                  bias, clamp, second image, store; prefetch of what comes next

Read in this order: plan/lowering, plan/opcodes, plan/program, kernels/interpreter, kernels/convolution,
kernels/conv_tile. Every other file is one of the words below. All of them vectorise over outputs and never over the
sum of one output, so that results are the definition's bits whatever the machine, the tiles and the threads. Of
integers every order of a sum is exact: integer/kernels add products of neighbouring input channels at once.

arena           the one block of memory in which tensors are placed by lifetime
cache block     as many positions of a row as let a group's reads and writes stay in a cache (XNNPACK, BLIS: blocking)
chain           groups that go through a large image together, some rows of each at a time: depth-first tiling
few filters     a convolution with fewer filters than lanes: vectors run along positions instead
fuse_next       the next 1x1 convolution, the residual's, is added in registers tile by tile
group           neighbouring convolutions done together, a cache block at a time
halo            zeros kept around an image, in place of skipped taps
instruction     one row of a program's table, see opcodes: an operator with what is fused into it
line buffer     the rows of a chain's tensor that are still to be read; older ones are overwritten
load-bound      a core that multiplies two full registers in a cycle, faster than it loads the scalars for them
micro-kernel    the code of one register tile (gemmlowp, XNNPACK)
prefetch stream where a software prefetch goes on from, and how many bytes it takes for each position
program         table, constants and arena: a network at one size, ready to run
register tile   positions x vectors of filters whose sums stay in registers
rematerialise   compute a tensor again in backward instead of keeping it
ring buffer     the rows of a training group's tensor, by row number modulo their count
row block       rows of what a group writes that are done before its neighbours go on
schedule        the order of all row blocks, for one thread or for each of several
chunk           rows of a sample in training whose partial sums are kept apart, so that threads change no sum
vector          LANES = 8 float32: an AVX register, half an AVX-512 one, two of SSE or Neon
work share      rows, positions or channels of an instruction that one thread does at a time

Of integers:

dot product     products of neighbouring integers summed by one instruction: pmaddwd, vpdpwssd (pairs), vpdpbusd (fours)
finish          what makes activations of sums: requantisation, residual, clamp, store
partial sums    int32 sums of some input channels, kept at low resolution for the convolution that continues them
requantisation  from a sum to the next activation's scale: a multiplier, a shift, a rounding (integer.fixed_point)
stored zero     activations stand as int16 less their zero point, so that a halo of zeros is padding
"""
