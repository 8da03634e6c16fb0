"""Live voice as OpenAI's Realtime API has it, without its socket (`lfm_daemon.routes.realtime`)."""
