"""What can be asked of the daemon, a module for each kind of request."""
