"""`ovss segment`: many pictures and films, on this machine or a cluster, into files. Imported only when it runs."""
