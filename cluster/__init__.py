"""What every trainer of the project shares: configuration, errors, run folders, and (later) the cluster itself."""
