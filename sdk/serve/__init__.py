"""The service: uploads over HTTP in, decisions with evidence out; and a page on which people review what was flagged.

Nothing here analyses anything: :class:`sdk.examiner.Examiner` does, as it does for a library's user.
"""
