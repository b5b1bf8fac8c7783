"""Data sets: blurry pictures with their truths, found by looking at a folder, or by the name of its layout."""
