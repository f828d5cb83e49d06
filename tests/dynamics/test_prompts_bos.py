"""BOS stands where the tokenizer's model was trained with it: once, first, and recorded."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dynamics.errors import PromptError
from dynamics.prompts import PromptSet, build_prompts
from dynamics.tasks import Row, Task, TaskRows, Template

BOS, EOS = 0, 1
_WORDS = ["<s>", "</s>", "<unk>", "Text:", "Label:", "good", "bad", *(f"w{i}" for i in range(20))]


def tokenizer(template: str | None = None, **settings: bool) -> PreTrainedTokenizerFast:
    """A word-level tokenizer; none of the special tokens it has are added unless a setting or the template says so."""
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(_WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    if template is not None:
        inner.post_processor = TemplateProcessing(single=template, special_tokens=[("<s>", BOS), ("</s>", EOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", **settings
    )


ADDS_BOS = {
    "by setting, as Llama 2 and Mistral": {"add_bos_token": True},
    "by template, as Llama 3": {"template": "<s> $A"},
}
with_bos = pytest.mark.parametrize("how", ADDS_BOS.values(), ids=ADDS_BOS)


def task(text: str = "Text: {text} Label: {label}") -> Task:
    """Twenty rows of one word, ten of each label."""
    rows = tuple(Row(str(i), {"text": f"w{i}"}, i % 2) for i in range(20))
    return Task(
        name="words",
        n_labels=2,
        label_words=("good", "bad"),
        templates=(Template("plain", text),),
        load=lambda _: TaskRows(pool=rows[:12], test=rows[12:]),
        source="test",
    )


def prompts(how: PreTrainedTokenizerBase, n_shots: int, words: Task | None = None) -> PromptSet:
    return build_prompts(words or task(), "plain", how, demo_seed=0, n_shots=n_shots, n_test=4)


@with_bos
@pytest.mark.parametrize("n_shots", [0, 1, 4])
def test_bos_stands_once_at_the_start_inside_the_shared_part(how: dict, n_shots: int, tmp_path: Path) -> None:
    """Also after saving and opening again, as a checkpoint's tokenizer is."""
    tokenizer(**how).save_pretrained(tmp_path)
    built = prompts(AutoTokenizer.from_pretrained(tmp_path, local_files_only=True), n_shots)
    assert built.bos
    assert built.shared_ids[0] == BOS
    for i in range(len(built.own_ids)):
        assert built.token_ids(i).count(BOS) == 1


@pytest.mark.parametrize("n_shots", [0, 4])
def test_a_tokenizer_that_adds_none_gets_none_even_where_it_has_the_token(n_shots: int) -> None:
    """As GPT-NeoX's."""
    built = prompts(tokenizer(), n_shots)
    assert not built.bos
    assert BOS not in built.shared_ids + sum(built.own_ids, ())


@with_bos
def test_bos_is_all_that_differs_and_is_part_of_the_digest(how: dict) -> None:
    without, begun = prompts(tokenizer(), 4), prompts(tokenizer(**how), 4)
    assert begun.shared_ids == (BOS, *without.shared_ids)
    assert begun.own_ids == without.own_ids
    assert begun.label_ids == without.label_ids
    assert begun.digest != without.digest


@with_bos
def test_a_text_that_holds_the_bos_token_is_refused(how: dict) -> None:
    """A template that writes it out would put it between demonstrations, and twice at the start."""
    with pytest.raises(PromptError, match="'<s>'"):
        prompts(tokenizer(**how), 4, task("<s> Text: {text} Label: {label}"))


def test_a_tokenizer_that_ends_texts_is_refused() -> None:
    """After `</s>` no label can follow."""
    with pytest.raises(PromptError, match="</s>"):
        prompts(tokenizer("<s> $A </s>"), 4)
