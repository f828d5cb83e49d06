"""Tokenizer files: the tokens that a tokenizer.json defines, read independently of transformers, and their comparison.

transformers rebuilds some tokenizers from vocabulary and merges and drops the rest of the file (normaliser,
pre-tokeniser, `ignore_merges`), so what it returns is compared with the file itself on `PROBES`. Across the steps of a
model, what tokenizers do is compared, not their bytes: another version of the library writes the same tokenizer
differently. No torch.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from dynamics.errors import CheckpointError, first_line
from dynamics.folder_checks import check_no_pointers
from dynamics.identity import short_hash

PROBES = (
    "Sales of 1990 units rose 12.5% to $3,400,000 in 2024.",
    "year 1990 007 12345678901234567890",
    "café naïve Ångström e\u0301 ﬁne ½ ①",
    "UPPER lower CamelCase mixedCASE iPhone",
    " leading space",
    "  two leading and  two inner   spaces  ",
    "tab\tand\nline\n\nbreaks\r\n \n end",
    "don't can't we'll I'M it's THEY'RE",
    "snake_case kebab-case a/b\\c x==y <tag> {brace} [b] (p) @#&*~`^|",
    "中文字符 日本語テスト 한국어 עברית العربية हिन्दी",
    "emoji 🙂👩‍👩‍👧 flags 🇫🇷 zero\u200bwidth nbsp\u00a0here",
    "\u201cquotes\u201d \u2018single\u2019 \u2014 dash \u2026 ellipsis",
    "Review: fine\nDo you think the review is positive or negative? positive",
)
"""Texts on which tokenizers differ in practice: digits, accents, capitals, white space, punctuation, scripts, emoji."""

_NAME_ONE = 'name one for the model, as tokenizer = "owner/name@revision" or a folder with tokenizer.json'
_IRRELEVANT = ("truncation", "padding", "decoder", "version")
"""Sections of tokenizer.json without influence on the tokens of a text that is encoded whole."""


@dataclass(frozen=True)
class TokenizerFile:
    """What a folder's tokenizer does.

    Attributes:
        path: of its tokenizer.json.
        body: hash of everything that decides the tokens of a text.
        special: what its config asks to be put before and after a text.
        encode: a text -> token ids, without special tokens.
        encode_whole: the same, with those of the post-processor.
        tokens: token ids -> tokens.
    """

    path: Path
    body: str
    special: Mapping[str, Any]
    encode: Callable[[str], list[int]]
    encode_whole: Callable[[str], list[int]]
    tokens: Callable[[Sequence[int]], list[str]]


def read_tokenizer_file(folder: Path) -> TokenizerFile:
    """Read a folder's tokenizer.json and what its config says of special tokens.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing{_instead(folder)}; {_NAME_ONE}")
    check_no_pointers([path])
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception on anything malformed
        raise CheckpointError(
            f"{path} is not a tokenizer that can be read ({first_line(error)}); copy or download the file again, or "
            f"{_NAME_ONE}"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    written = json.loads(tokenizer.to_str())  # by the installed library, whichever version wrote the file
    body = {key: value for key, value in written.items() if key not in (*_IRRELEVANT, "post_processor")}
    return TokenizerFile(
        path=path,
        body=short_hash(json.dumps(body, sort_keys=True)),
        special={"post_processor": _template(written.get("post_processor")), **_special(folder)},
        encode=lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        encode_whole=lambda text: tokenizer.encode(text).ids,
        tokens=lambda ids: [tokenizer.id_to_token(i) or f"<{i}>" for i in ids],
    )


def check_tokenizer(folder: Path, weights: str) -> None:
    """Check that a folder has a tokenizer: a `tokenizer.json` that can be read, or a GGUF file, which holds one.

    Raises:
        CheckpointError: it has none, or a file that is none.
    """
    if weights != "gguf" or (folder / "tokenizer.json").exists():
        read_tokenizer_file(folder)


def check_one_tokenizer(model: str, folders: Mapping[str, Path]) -> None:
    """Check that the steps of a model tokenise alike: otherwise one prompt would be other tokens from step to step.

    Args:
        model: its id.
        folders: name of a step -> a folder with its tokenizer.json; folders without one are left out.

    Raises:
        CheckpointError: two tokenizers differ; names both, and a text with both tokenisations where one is known.
    """
    files = {name: read_tokenizer_file(path) for name, path in folders.items() if (path / "tokenizer.json").is_file()}
    last_name, last = next(reversed(files.items()), ("", None))
    for name, file in files.items():
        if last is not None and file.body != last.body:
            raise CheckpointError(
                f"model {model} has two tokenizers: {name} ({file.path}) and {last_name} ({last.path}) differ"
                f"{_example(file, last)}; copy the right tokenizer.json to both, leave the step out, or sweep "
                "the steps as two models"
            )


def first_difference(
    file: TokenizerFile, encode: Callable[[str], Sequence[int]], *, special: bool = False
) -> str | None:
    """The first probe that another encoder splits differently, with both tokenisations; None where there is none.

    Args:
        file: the tokenizer as its file defines it.
        encode: a text -> token ids.
        special: whether with special tokens.
    """
    by_file = file.encode_whole if special else file.encode
    for text in PROBES:
        expected, actual = by_file(text), list(encode(text))
        if actual != expected:
            return f"{text!r} is {_shown(file, expected)} by the file and {_shown(file, actual)}"
    return None


def _instead(folder: Path) -> str:
    """What a folder has that several tokenizers can be made of, since it says nothing of how texts are split."""
    others = [name for name in ("vocab.json", "merges.txt", "tokenizer.model") if (folder / name).is_file()]
    return f" ({' and '.join(others)} alone may be read in several ways)" if others else ""


def _example(file: TokenizerFile, reference: TokenizerFile) -> str:
    for text in PROBES:
        if file.encode(text) != reference.encode(text):
            return f": {text!r} is {_shown(file, file.encode(text))} and {_shown(reference, reference.encode(text))}"
    return ""


def _shown(file: TokenizerFile, ids: Sequence[int], length: int = 12) -> str:
    tokens = file.tokens(ids[:length])
    return " ".join(f"{token}[{i}]" for token, i in zip(tokens, ids, strict=False)) + (
        " ..." if len(ids) > length else ""
    )


def _template(post_processor: Mapping[str, Any] | None) -> Any:
    """The part of a post-processor that adds tokens; the others only adjust offsets."""
    if post_processor is None or post_processor.get("type") == "ByteLevel":
        return None
    if post_processor.get("type") == "Sequence":
        parts = [part for one in post_processor["processors"] if (part := _template(one)) is not None]
        return parts or None
    return post_processor


def _special(folder: Path) -> dict[str, Any]:
    """What tokenizer_config.json says of BOS and EOS, where it says that they are added."""
    path = folder / "tokenizer_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); copy or download the file again") from error
    added = {key: config.get(f"add_{key}_token") for key in ("bos", "eos")}
    text = {key: _content(config.get(f"{key}_token")) if added[key] else None for key in added}
    return {"added": added, "tokens": text}


def _content(token: Any) -> Any:
    return token.get("content") if isinstance(token, dict) else token
