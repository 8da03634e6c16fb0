"""Sound in and out: files, sample rates, log-mel features."""
