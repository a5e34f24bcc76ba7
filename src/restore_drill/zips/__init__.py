"""zip archives, read strictly: :mod:`.ending` finds the directory, :mod:`.entries` and :mod:`.reader` read them.

Source: PKWARE's APPNOTE.TXT 6.3.10 (its sections are cited), Info-ZIP's ``proginfo/extrafld.txt`` for what Unix adds.
The members must lie one behind the other from the first byte to the directory, and say of themselves what the directory
says of them: a reader that believes one of the two only, as most do, can be shown another archive than the next reader.
"""
