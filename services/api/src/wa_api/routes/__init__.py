"""HTTP routes. They translate between HTTP and what lies below, and decide nothing else."""
