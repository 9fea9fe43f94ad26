"""Masking of what looks like a secret, before anything is shown, compared or written. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from mlflow_dlviz.reporting.bundle import Bundle, RunData

MASK = "••••••"

# Of a name cut into words. Words that name a secret whatever stands around them; keys and tokens only with a word
# that says so, or alone: "sort_key", "key_dim", "pad_token" and "max_tokens" are no secrets.
_SECRET_WORDS = re.compile(
    r"passw(or)?d|passwd|passphrase|passcode|pwd\b|\bpass$|credential|\bcreds?\b|secrets?\b|\bauthorization\b|\bbearer\b"
    r"|(api|access|private|secret|auth|account|encryption|signing|master|client|service|shared|storage|ssh|pgp|gpg|rsa"
    r"|hmac|deploy|license|subscription|consumer|openai|anthropic|huggingface|hf|wandb|comet|neptune|kaggle|aws|azure"
    r"|gcp|google|stripe|databricks) ?keys?\b|^keys?$"
)
_TOKEN = re.compile(
    r"(?:^|(?P<kind>\w+) )token(?: (?:value|secret))?$|(?:auth|access|api|bearer|refresh) ?tokens?\b"
)
# fmt: off
_TOKENS_OF_TEXT = frozenset([
    "additional", "bos", "cls", "class", "current", "decoder", "end", "eos", "extra", "first", "image", "last",
    "mask", "max", "min", "n", "next", "num", "oov", "pad", "padding", "per", "prompt", "sep", "special", "split",
    "start", "stop", "target", "text", "unk", "unknown", "vocab", "word",
])
# fmt: on
# What is a secret by its own form, wherever it stands.
_FORMS = re.compile(
    r"(?<=://)[^/\s:@?#]*:[^/\s@]+(?:@[^/\s?#]*)?(?=@)"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bhf_[A-Za-z0-9]{20,}|\bsk-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\bdapi[0-9a-f]{32}\b|\bAIza[\w-]{35}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?<=\b(?i:bearer) )[\w.~+/=-]{8,}|(?<=\b(?i:basic) )[A-Za-z0-9+/]{12,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# Before a value: "name=", "name: ", "'name': ", "name LIKE ", "--name ": in commands, URLs, filters and JSON.
_NAME = re.compile(
    r"""(?<![\w.-])(?P<name>[\w.-]++)["'`]?(?:\s*+(?:[!=<>]?=|:(?!//))\s*+|\s++I?LIKE\s++)"""
    r"""|(?<![\w.-])(?P<option>--[A-Za-z][\w-]*+)\s++(?!-)""",
    re.IGNORECASE,
)
_VALUE = re.compile(r"""\"([^"]+)|'([^']+)|([^\s"',;&}\])]+)""")
# Shorter ones would be found in innocent text.
_TELLING = 6


def is_secret(name: str) -> bool:
    """Whether a param or tag of this name holds a secret: "api_key", "HF_TOKEN", not "key_dim" or "max_tokens"."""
    words = _words(name)
    if _SECRET_WORDS.search(words):
        return True
    token = _TOKEN.search(words)
    return token is not None and token["kind"] not in _TOKENS_OF_TEXT


def is_masked(value: str) -> bool:
    """Whether ``value`` stands for a secret that was masked by its name."""
    return value.startswith(MASK)


def mask(bundle: Bundle, patterns: Sequence[str] = ()) -> Bundle:
    """``bundle`` without secrets.

    Masked are the values of params and tags that are named like a secret or whose names match one of
    ``patterns``; these same values wherever else they stand; and in all text what has the form of a secret: the
    password in a URL, "token=…", AWS and GitHub keys, bearer tokens, private keys. Of one name, different secrets
    stay different: numbered in the order in which they come.
    """
    named = _namer(patterns)
    numbers: dict[str, dict[str, int]] = {}
    scrub = _scrubber(named, _secrets(bundle.runs, named), bundle)
    return replace(
        bundle,
        query=replace(bundle.query, filters=_each(scrub, bundle.query.filters)),
        runs=tuple(_scrub_run(_mask_named(run, named, numbers), scrub) for run in bundle.runs),
        excluded=tuple(replace(run, name=scrub(run.name), reason=scrub(run.reason)) for run in bundle.excluded),
        notes=_each(scrub, bundle.notes),
        problems=_each(scrub, bundle.problems),
    )


def mask_text(text: str, patterns: Sequence[str] = ()) -> str:
    """``text`` without what is named like a secret in it, or has the form of one."""
    return _scrub(text, _namer(patterns))


def _words(name: str) -> str:
    """The words of a name: "HF_TOKEN" and "hfToken" are "hf token"."""
    return re.sub(r"[^a-z0-9]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()).strip()


def _namer(patterns: Sequence[str]) -> Callable[[str], bool]:
    asked = [re.compile(pattern, re.IGNORECASE) for pattern in patterns]

    @cache
    def named(name: str) -> bool:
        return is_secret(name) or any(pattern.search(name) for pattern in asked)

    return named


def _mask_named(run: RunData, named: Callable[[str], bool], numbers: dict[str, dict[str, int]]) -> RunData:
    def masked(values: Mapping[str, str]) -> dict[str, str]:
        return {
            name: _masked(value, numbers.setdefault(name, {})) if named(name) else value
            for name, value in values.items()
        }

    return replace(run, params=masked(run.params), tags=masked(run.tags))


def _masked(value: str, numbers: dict[str, int]) -> str:
    number = numbers.setdefault(value, len(numbers) + 1)
    return MASK if number == 1 else f"{MASK} ({number})"


def _secrets(runs: Sequence[RunData], named: Callable[[str], bool]) -> list[str]:
    found = {
        value
        for run in runs
        for values in (run.params, run.tags)
        for name, value in values.items()
        if named(name) and len(value) >= _TELLING
    }
    # The longer first: one may be the beginning of another.
    return sorted(found, key=lambda value: (-len(value), value))


def _scrubber(named: Callable[[str], bool], secrets: Sequence[str], bundle: Bundle) -> Callable[[str], str]:
    everything = "\0".join(_all_texts(bundle, named)) if secrets else ""
    repeated = [secret for secret in secrets if secret in everything]

    @cache
    def scrub(text: str) -> str:
        for secret in repeated:
            text = text.replace(secret, MASK)
        return _scrub(text, named)

    return scrub


def _all_texts(bundle: Bundle, named: Callable[[str], bool]) -> list[str]:
    texts = [*bundle.query.filters, *bundle.notes, *bundle.problems]
    texts += [text for run in bundle.excluded for text in (run.name, run.reason)]
    for run in bundle.runs:
        texts += [run.name, run.experiment, *(frame.reason for frame in run.frames)]
        texts += [text for data in run.datasets for text in (data.name, data.digest)]
        texts += [value for values in (run.params, run.tags) for name, value in values.items() if not named(name)]
    return texts


def _scrub_run(run: RunData, scrub: Callable[[str], str]) -> RunData:
    return replace(
        run,
        name=scrub(run.name),
        experiment=scrub(run.experiment),
        params={name: scrub(value) for name, value in run.params.items()},
        tags={name: scrub(value) for name, value in run.tags.items()},
        datasets=tuple(replace(data, name=scrub(data.name), digest=scrub(data.digest)) for data in run.datasets),
        frames=tuple(
            replace(frame, reason=scrub(frame.reason)) if frame.reason else frame for frame in run.frames
        ),
    )


def _scrub(text: str, named: Callable[[str], bool]) -> str:
    text = _FORMS.sub(MASK, text)
    pieces, done = [], 0
    for match in _NAME.finditer(text):
        value = _VALUE.match(text, match.end()) if named(match["name"] or match["option"]) else None
        if value is None or value.lastindex is None or value.start() < done or MASK in value[0]:
            continue
        start, end = value.span(value.lastindex)
        pieces += [text[done:start], MASK]
        done = end
    return "".join([*pieces, text[done:]])


def _each(scrub: Callable[[str], str], texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(scrub, texts))
