"""The reference suite's tokenizer: one token per whitespace-separated word.

An unknown word becomes the token `<unk>`, which no document contains and whose embedding is therefore never trained;
prompts that contain it are an error (`dynamics.prompt_encoder`). The tokenizer itself does not fail, because the error
of `AutoTokenizer` would not name the word.
"""

from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

END_TOKEN, UNKNOWN_TOKEN = "<|endoftext|>", "<unk>"


def build_tokenizer(words: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer of a word list.

    Ids 0 and 1 are `<|endoftext|>` (as in Pythia; no document contains it and none is added) and `<unk>`; the words
    follow in the order given. Nothing is prepended or appended to a text.

    Args:
        words: unique words without whitespace.
        max_length: context of the model, in tokens.

    Raises:
        ValueError: a word repeats, is empty or holds whitespace.
    """
    tokens = [END_TOKEN, UNKNOWN_TOKEN, *words]
    for position, token in enumerate(tokens):
        if token.split() != [token] or token in tokens[:position]:
            raise ValueError(f"word {token!r} repeats or is not a single word; every word must be unique and unbroken")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN_TOKEN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN_TOKEN,
        bos_token=END_TOKEN,
        eos_token=END_TOKEN,
        model_max_length=max_length,
    )
