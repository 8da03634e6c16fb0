"""From an original LFM2-Audio checkpoint to the folder that the engine loads."""
