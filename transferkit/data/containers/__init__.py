"""Files that hold many pictures (archives, tables of bytes, arrays): a path that leads into one is read like any path.

`flowers.zip/rose/1.jpg` is such a path. Code that opens, hashes or lists files asks `places`, and need not know where a
picture lies. Nothing is ever written beside the user's files.
"""
