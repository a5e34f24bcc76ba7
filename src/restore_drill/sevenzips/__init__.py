"""7z archives: :mod:`.header` reads what they hold, :mod:`.reader` the contents, by the libraries that zip uses, too.

Source: ``DOC/7zFormat.txt`` and ``DOC/Methods.txt`` of the LZMA SDK (public domain), whose terms the names here are.
"""
