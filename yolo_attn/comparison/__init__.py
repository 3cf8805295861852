"""Train several models over several seeds on the user's data, and compare them with honest statistics."""
