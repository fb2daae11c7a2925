"""A run as a trial: stepped, saved in a folder of its caller's and brought back from there, by Ray Tune or RLlib."""
