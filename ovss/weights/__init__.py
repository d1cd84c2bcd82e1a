"""Published weights: their table, and their files, downloaded once and verified. Imports no torch and no system."""
