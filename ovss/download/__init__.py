"""Files from public servers, for data sets and weights alike. Imports the standard library, tqdm and `ovss.files`."""
