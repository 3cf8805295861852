"""Train several models over several seeds on the same data, and say what the differences between them are worth."""
