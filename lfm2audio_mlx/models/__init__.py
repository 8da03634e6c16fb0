"""The networks, one architecture a file. State is passed in and handed back, never kept."""
