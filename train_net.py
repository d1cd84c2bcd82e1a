"""Train, or with --eval-only evaluate, both systems; the options are Detectron2's. The work: `ovss/train_net.py`."""

from ovss.train_net import run

if __name__ == "__main__":
    run()
