"""One sample at a time on a CPU, by kernels compiled for the model's sizes."""
