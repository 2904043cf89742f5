"""An optional neural translator behind the glossary, for text of other hospitals; never downloaded unless asked."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ecgrepro.errors import InputError, first_line
from ecgrepro.language_model import find_model_folder

OPUS_MT_DE_EN = "Helsinki-NLP/opus-mt-de-en"


def load_backend(
    name: str = OPUS_MT_DE_EN,
    *,
    revision: str | None = None,
    allow_download: bool = False,
    batch_size: int = 16,
) -> Callable[[Sequence[str]], list[str]]:
    """Load a sequence-to-sequence model as a backend of `translate.translate_reports`.

    Parameters
    ----------
    name
        Hub id or local folder. Marian models such as opus-mt need the package sentencepiece.
    revision, allow_download
        As in `text.load_text_model`.
    batch_size
        Texts a pass.

    Returns
    -------
    callable
        Texts in, English texts out; greedy, hence the same for the same input.

    Raises
    ------
    InputError
        The model is not here or cannot be loaded.
    """
    folder = find_model_folder(name, revision, allow_download)
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        module = AutoModelForSeq2SeqLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, weights_only=True
        )
    except Exception as error:  # transformers raises many kinds for a broken folder
        hint = (
            "install it with `.venv/bin/pip install sentencepiece`"
            if "sentencepiece" in str(error).lower()
            else "copy or download it again"
        )
        raise InputError(
            f"The translator in {Path(folder)} cannot be loaded ({first_line(error)}): {hint}."
        ) from error
    module.eval().requires_grad_(False)

    def translate(texts: Sequence[str]) -> list[str]:
        english: list[str] = []
        for start in range(0, len(texts), batch_size):
            batch = [re.sub(r"\s+", " ", text) for text in texts[start : start + batch_size]]
            tokens = tokenizer(
                batch, return_tensors="pt", padding=True, truncation=True, max_length=512
            )
            with torch.no_grad():
                generated = module.generate(
                    input_ids=tokens["input_ids"],
                    attention_mask=tokens["attention_mask"],
                    max_new_tokens=256,
                    num_beams=1,
                    do_sample=False,
                )
            english += tokenizer.batch_decode(generated, skip_special_tokens=True)
        return english

    return translate
