"""The Hugging Face Hub: list revisions, choose a format, download and verify, and bound the disk. No torch.

names     valid names of repositories and revisions; the current settings
waiting   a line every 30 s; the least rate of a download
retries   transient errors, and how long to wait
api       answers of the Hub's API, kept in the cache
listing   refs and files of a repository; one format per revision; a content hash without a download
errata    known faults of published checkpoints, as data; duplicates and chimeras by hash
finding   the requested steps of a repository, checked
cache     folders and files of the cache, and deleting them
xet       whether the Xet store answers
fetch     verified download by commit
datasets  verified download of a dataset's files
disk      the files that sweeps put into the cache, within a budget; eviction
ledger    the record of these files and of the processes that use them
"""
