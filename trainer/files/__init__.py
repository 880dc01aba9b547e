"""Files and folders, here and on Cloud Storage: named, read, written, replaced, checked."""
