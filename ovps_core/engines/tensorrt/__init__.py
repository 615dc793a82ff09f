"""TensorRT engine: build and run."""
