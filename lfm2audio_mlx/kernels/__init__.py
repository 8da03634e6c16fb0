"""Fused Metal kernels, each with a twin in MLX operations that carries every other backend."""
