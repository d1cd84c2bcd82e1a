"""The one CLIP that both systems share: towers, weights, text embeddings. Imports torch and open_clip; no system."""
