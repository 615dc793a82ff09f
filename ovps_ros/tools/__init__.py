"""Programs around the node: demo, simulated camera, benchmark, recorder, reference page."""
