"""Mimi whole, as it is trained: an encoder, a quantiser that learns, and the decoder."""
