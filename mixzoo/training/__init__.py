"""Training: the step, the loop, devices, distributed processes, checkpoints and logs."""
