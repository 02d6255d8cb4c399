"""The tokenizer: one token a known word. Words that the model does not know are taken out."""

from typing import Any

from providers.diffusers_modal.embedded.captions import ALIASES, VOCABULARY

__all__ = ["MAX_TOKENS", "TOKENS", "create_tokenizer"]

MAX_TOKENS = 20
"""Of a caption, start and end included. The longest that training makes has 15."""

_PAD, _START, _END = _SPECIAL = ("<pad>", "<start>", "<end>")

TOKENS = len(_SPECIAL) + len(VOCABULARY)
"""How many different ones there are."""


def create_tokenizer() -> Any:
    """A `PreTrainedTokenizerFast` over `VOCABULARY`, without case and without punctuation.

    A prompt of a hundred words leaves the few that mean something, so none of them is cut off.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([*_SPECIAL, *VOCABULARY])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_PAD))
    known = "|".join(VOCABULARY)
    aliases = [normalizers.Replace(Regex(rf"\b{alias}\b"), word) for alias, word in ALIASES.items()]
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[^a-z]+"), " "),
            *aliases,
            normalizers.Replace(Regex(rf"\b(?!(?:{known})\b)[a-z]+"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}", special_tokens=[(_START, 1), (_END, 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_START,
        eos_token=_END,
        pad_token=_PAD,
        model_max_length=MAX_TOKENS,
    )
