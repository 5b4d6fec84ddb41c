"""Our models as a model type of lm-evaluation-harness (Gao et al. 2024, lm-eval 0.4.13).

    from jaxedit.downstream.harness import HarnessModel
    lm_eval.simple_evaluate(model=HarnessModel(lm), tasks=[...])

    python -m jaxedit.downstream.harness --model jaxedit --model_args pretrained=DIR --tasks ...

The second line is the harness's own command line with the type registered. Numbers are those of
its Hugging Face type ("hf") with the same weights: the same split of prompt and answer, the same
truncation from the left, the same windows of long texts.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from jaxedit.cli import BAD_INPUT
from jaxedit.errors import UserError
from jaxedit.models.loading import load_model
from jaxedit.models.protocol import LanguageModel, Row, total_logprob

DEFAULT_NEW_TOKENS = 256  # the harness's own

Tokens = tuple[tuple[str, str] | None, list[int], list[int]]  # (texts, prompt ids, answer ids)


class HarnessModel(TemplateLM):
    """Any model of ours that defines the likelihoods of given tokens.

    Attributes:
        lm: the model.
        max_length: most tokens that are fed to it for one prediction.
        dropped: of each request of the last call, tokens that were cut from its front.
    """

    def __init__(
        self,
        pretrained: str | LanguageModel,
        dtype: str = "float32",
        max_length: int | None = None,
        advance: Callable[[int], object] | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        """Loads or wraps a model.

        Args:
            pretrained: a model, a directory, a hub id or ``embedded:gptj``.
            dtype: to load it in.
            max_length: by default what the model's config says.
            advance: told the number of requests done, in place of a progress bar.
            batch_size, max_batch_size, device: what the harness passes to every model type; not
                used: batches are made by length, on all devices.

        Raises:
            UserError: the model cannot be loaded, has no tokenizer, defines no likelihoods, or
                does not say how long a text may be.
        """
        super().__init__()
        del batch_size, max_batch_size, device
        lm = load_model(pretrained, dtype) if isinstance(pretrained, str) else pretrained
        self.lm = lm
        self.tokenizer = _defined(lm).tokenizer
        self.max_length = positions(lm) if max_length is None else int(max_length)
        self.dropped: list[int] = []
        self._advance = advance

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text, or 0 if the tokenizer has none."""
        return next((i for i in (self.tokenizer.eos_id, self.tokenizer.bos_id) if i is not None), 0)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that has nothing before it: BOS, else the end-of-text."""
        return self.eot_token_id if self.tokenizer.bos_id is None else self.tokenizer.bos_id

    @property
    def tokenizer_name(self) -> str:
        """Of the model that the tokenizer came with."""
        return str(getattr(self.lm, "name", "")) or type(self.lm).__name__

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Ids of a text, BOS once where the tokenizer puts one; never if told not to."""
        del kwargs
        if add_special_tokens is False:
            return list(self.tokenizer.pipeline.encode(string, add_special_tokens=False).ids)
        return self.tokenizer.encode(string)

    def _loglikelihood_tokens(
        self, requests: Sequence[Tokens], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """(sum of log p in nats, whether all are the likeliest) of each request's answer.

        The front of what is too long is cut off. An answer that is longer than the model by
        itself is scored in windows. Raises UserError for an answer that has no token.
        """
        del kwargs
        owners: list[int] = []
        rows: list[Row] = []
        self.dropped = []
        for i, (texts, prompt, answer) in enumerate(requests):
            if not answer:
                said = repr(texts[1]) if texts else "a text"
                raise UserError(f"the answer {said} has no token to score; leave the item out")
            windows = self._windows(prompt + answer, len(prompt))
            owners += [i] * len(windows)
            rows += windows
            self.dropped.append(max(0, len(prompt) + len(answer) - self.max_length - 1))
        with _bar("loglikelihood", len(rows), disable_tqdm, self._advance) as advance:
            scored = self.lm.score_rows(rows, advance)
        sums, greedy = [0.0] * len(requests), [True] * len(requests)
        for i, forced in zip(owners, scored, strict=True):
            sums[i] += total_logprob(forced)
            greedy[i] &= bool((forced.predicted_ids == forced.target_ids).all())
        made = list(zip(sums, greedy, strict=True))
        for (texts, _, _), one in zip(requests, made, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, one)
        return made

    def _windows(self, ids: list[int], start: int) -> list[Row]:
        """Rows that score ids[start:] once, each with as much before it as the model takes.

        A row's last token is predicted, not fed, so there is room for one more.
        """
        rows = []
        while start < len(ids):
            end = min(start + self.max_length, len(ids))
            row = ids[max(0, end - self.max_length - 1) : end]
            rows.append((row, len(row) - (end - start)))
            start = end
        return rows

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log p of whole texts, in nats; every token is scored once.

        A text that is longer than the model takes is scored in windows, the last of them with as
        much context as fits. A BOS that the tokenizer puts is scored as well, as in the "hf" type.
        """
        owners: list[int] = []
        windows: list[Tokens] = []
        for i, request in enumerate(requests):
            pairs = get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, self.max_length, 1
            )
            for prompt, answer in map(make_disjoint_window, pairs):
                owners.append(i)
                windows.append((None, prompt, answer))
        sums = [0.0] * len(requests)
        scored = self._loglikelihood_tokens(windows, disable_tqdm)
        for i, (total, _) in zip(owners, scored, strict=True):
            sums[i] += total
        self.dropped = [0] * len(requests)
        for request, total in zip(requests, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return sums

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Greedy continuations, cut before the first stop string.

        Raises UserError if sampling is asked for.
        """
        groups: dict[tuple[tuple[str, ...], int], list[int]] = defaultdict(list)
        for i, request in enumerate(requests):
            groups[self._wanted(request.arguments[1])].append(i)
        texts, self.dropped = [""] * len(requests), [0] * len(requests)
        with _bar("generate_until", len(requests), disable_tqdm, self._advance) as advance:
            for (until, count), places in groups.items():
                prompts = []
                for i in places:
                    prompt, self.dropped[i] = self._fitting(requests[i].args[0], count)
                    prompts.append(prompt)
                made = self.lm.continuations(prompts, count, stop=until, advance=advance)
                for i, one in zip(places, made, strict=True):
                    texts[i] = _cut(self.tokenizer.decode(one.ids), until)
                    self.cache_hook.add_partial("generate_until", requests[i].args, texts[i])
        return texts

    def _wanted(self, given: dict[str, Any]) -> tuple[tuple[str, ...], int]:
        """(stop strings, number of new tokens) of a request's settings."""
        wanted: dict[str, Any] = dict(normalize_gen_kwargs(given, DEFAULT_NEW_TOKENS))
        if wanted.get("do_sample"):
            raise UserError("the jaxedit model type decodes greedily; leave out do_sample")
        count = int(wanted["max_gen_toks"])
        # A model shorter than what is asked for keeps half of its positions for the prompt.
        count = count if count < self.max_length else max(1, self.max_length // 2)
        return tuple(stop for stop in wanted["until"] if stop), count

    def _fitting(self, prompt: str, new: int) -> tuple[str, int]:
        """The end of a prompt that leaves room for ``new`` tokens, and how many were cut off."""
        ids, spans = self.tokenizer.encode_with_offsets(prompt)
        room = self.max_length - new
        for start in range(len(ids) - room, len(ids)):
            if start <= 0:
                break
            end = prompt[spans[start][0] :]
            kept = len(self.tokenizer.encode(end))
            if kept <= room:  # not at once where a BOS is put before it
                return end, len(ids) - kept
        return prompt, 0


# A call, since the decorator's type would hide the class's own.
register_model("jaxedit")(HarnessModel)


def positions(lm: Any) -> int:
    """The number of tokens that a model takes.

    Raises:
        UserError: neither it nor the model that it wraps says so.
    """
    for one in (lm, getattr(lm, "model", None)):
        most = getattr(getattr(one, "config", None), "max_positions", None)
        if most is not None:
            return int(most)
    raise UserError(f"{type(lm).__name__} does not say how long a text may be; give max_length")


def _defined(lm: Any) -> Any:
    """The model, if it defines the likelihoods of given tokens; UserError if not."""
    if not all(callable(getattr(lm, name, None)) for name in ("score_rows", "continuations")):
        raise UserError(
            f"{type(lm).__name__} defines no likelihoods of given tokens (a mixture of two "
            "vocabularies has none), which downstream tasks compare; evaluate one of its parts"
        )
    return lm


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop)[0]
    return text


class _bar:
    """Calls ``advance``, or shows the harness's usual progress bar."""

    def __init__(
        self, title: str, total: int, hidden: bool, advance: Callable[[int], object] | None
    ) -> None:
        hidden = hidden or advance is not None
        self._bar = tqdm(total=total, desc=f"Running {title} requests", disable=hidden)
        self._advance = self._bar.update if advance is None else advance

    def __enter__(self) -> Callable[[int], object]:
        return self._advance

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def main() -> None:
    """The harness's command line; a mistake that a user can mend is told in one line."""
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
