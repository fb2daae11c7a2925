"""What measures: speed beside limits and peers in one run, and results of training runs. Nothing here asserts."""
