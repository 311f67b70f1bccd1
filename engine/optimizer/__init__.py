"""From feedback to a better text: candidates, the gate, the pool of parents."""
