"""What the services and their clients say to each other: commands, events, replies, topology."""
