"""Several models over several seeds on the user's data, compared with honest statistics."""
