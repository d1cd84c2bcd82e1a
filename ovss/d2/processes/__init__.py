"""From a command line to processes: which there are, how they start, how they end. Imports the seam."""
