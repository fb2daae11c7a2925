"""What needs a Ray cluster: connecting, a head on this machine, jobs, resources, and data-parallel training."""
