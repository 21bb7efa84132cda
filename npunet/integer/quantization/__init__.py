"""From a trained float network to an integer one: plan, calibrate, choose scales, build.

    plan       which integer operator stands for which float layers
    calibrate  the range of every activation over the calibration data
    ranges     which tensors share one range
    scales     from ranges and weights to scales, zero points and integers
    build      the integer network
    fake       the float network that rounds as the integer one does, for training
    report     what quantising cost, tensor by tensor
"""
