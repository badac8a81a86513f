"""HTTP without rules of its own: errors as problem+json and as pages, representations, routes, enforcement."""
