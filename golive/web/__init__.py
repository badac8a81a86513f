"""HTTP plumbing without rules of its own: problem+json and error pages, representations, routes, enforcement."""
