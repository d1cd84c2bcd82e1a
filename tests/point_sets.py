"""Random sets of points for tests of clustering, and what scikit-learn makes of them."""

import math

import numpy as np
import torch
from sklearn.cluster import DBSCAN


def reference(points, eps, min_points):
    """Labels of each set (B,N,F) by scikit-learn."""
    model = DBSCAN(eps=eps, min_samples=min_points)
    return [model.fit_predict(one.numpy()).tolist() for one in points]


def random_sets(seed, number=200):
    """(points (2,N,F), eps, min_points): from noise alone to several clusters."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        count, features = int(rng.integers(1, 80)), int(rng.integers(1, 40))
        spread = rng.uniform(0.1, 0.5)
        centres = rng.normal(size=(int(rng.integers(1, 6)), features))
        members = rng.integers(0, len(centres), size=(2, count))
        values = centres[members] + spread * rng.normal(size=(2, count, features))
        eps, min_points = float(spread * math.sqrt(2 * features) * rng.uniform(0.6, 1.2)), int(rng.integers(1, 8))
        yield torch.tensor(values, dtype=torch.float32), eps, min_points
