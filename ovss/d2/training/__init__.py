"""Training of a config's model, from the order of crops to checkpoints. Imports the seam."""
