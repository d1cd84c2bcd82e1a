"""What `ovss export` does: a model with its words as one file that runs without this project.

`fixed` makes one module of a model, its words and the size of its pictures, `program` a torch.export program of that
and `onnx` an ONNX model; `check` runs a file beside the model. `released` is CAT-Seg's checkpoints, as published.
"""
