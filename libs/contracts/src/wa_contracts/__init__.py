"""The contract between the services and their consumers: commands, events, replies, topology."""
