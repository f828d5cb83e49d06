"""The Hugging Face Hub: list revisions, choose a format, fetch and verify, and keep the disk bounded. No torch.

names     what may become part of a path or URL, and which settings hold now
retries   which errors pass, and how long to wait
listing   refs and trees of a repository; one format per revision; a content hash without a download
errata    known faults of published checkpoints, as data; duplicates and chimeras by hash
fetch     verified download by commit
disk      what sweeps put into the cache, under a budget; eviction
"""
