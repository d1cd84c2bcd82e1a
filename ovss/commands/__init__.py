"""The commands of `ovss`: for each its arguments, and what runs. The standard library alone until one runs."""
