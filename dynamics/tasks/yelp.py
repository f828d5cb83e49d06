"""Yelp polarity: the transfer test of SST-2, with its demonstrations, label words and templates."""

from dynamics.tasks import sst2
from dynamics.tasks.rows import Columns
from dynamics.tasks.sources import File, Source, source_task

SOURCE = Source(
    repo="fancyzhx/yelp_polarity",
    files={"test": File("plain_text/test-00000-of-00001.parquet", 38_000)},
    columns=Columns({"text": "text"}, "label", (0, 1)),
    test="test",
)

TASK = source_task("yelp", ("negative", "positive"), sst2.TEMPLATES, SOURCE, demonstrations_of=sst2.TASK)
