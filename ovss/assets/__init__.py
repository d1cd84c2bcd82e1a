"""The embedded tiny CLIP (`tiny_clip.json`, `tiny_clip.safetensors`, `tiny_clip_log.json`) and what made it."""
