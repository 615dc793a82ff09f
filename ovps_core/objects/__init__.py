"""Parts of object instances: where the instances come from, and what is asked of each."""
