"""The parts of scripts/bench-compare."""
