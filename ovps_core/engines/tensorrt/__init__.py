"""TensorRT engine: build, cache and run."""
