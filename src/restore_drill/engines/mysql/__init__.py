"""The ``mysql`` and ``mariadb`` engines: dumps as SQL text, loaded into a server of the family that wrote them."""
