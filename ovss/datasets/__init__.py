"""The benchmarks: where their files lie, what their labels mean, how they are prepared. Knows no Detectron2."""
