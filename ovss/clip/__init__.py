"""The one CLIP that both systems share: towers, weights, text embeddings. Imports torch and open_clip, nothing of the project's systems."""
