"""The partitions that this host holds, and the commands to them."""
