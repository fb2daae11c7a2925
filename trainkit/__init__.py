"""What every trainer of the project shares and no cluster is needed for: settings, command line, run folders, logs."""
