"""From a plan of what was said to a stream of tokens: prompt, sampling, decoding."""
