"""What is a secret, what is not, and that none of it is left anywhere."""

from __future__ import annotations

import json

import pytest
from builders import analysis_of, bundle, run_data, series
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.reporting import page, redaction
from mlflow_dlviz.reporting.bundle import Dataset, Excluded, Frame, Query
from mlflow_dlviz.reporting.redaction import MASK

SECRET = [
    "api_key", "apiKey", "apikey", "API-KEY", "access_key", "aws_secret_access_key", "AWS_ACCESS_KEY_ID",
    "secret_key", "private_key", "auth_token", "token", "TOKEN", "hf_token", "HF_TOKEN", "accessToken",
    "refresh_token", "password", "db.password", "passwd", "pwd", "db_pwd", "passphrase", "credentials", "creds",
    "client_secret", "wandb_key", "openai_api_key", "ssh_key", "key", "Authorization", "dbpassword", "bearer",
    "slack/token",
]  # fmt: skip
INNOCENT = [
    "num_keys", "keyboard", "monkey", "tokenizer", "max_tokens", "key_dim", "n_tokens", "tokens_per_batch",
    "pad_token", "oov_token", "eos_token_id", "mask_token", "sort_key", "primary_key", "key_path",
    "keys_per_head", "token_dim", "num_attention_heads", "learning_rate", "lr", "passes", "n_passes", "bypass",
    "compass_size", "secretary_problem", "author", "authors", "signature", "hockey", "turkey", "seed",
    "optimizer", "monkey_patch",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET)
def test_names_of_secrets(name):
    assert redaction.is_secret(name)


@pytest.mark.parametrize("name", INNOCENT)
def test_names_that_only_look_so(name):
    assert not redaction.is_secret(name)


GITHUB = "ghp_" + "a1B2" * 9
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:pw123@host/x", f"https://{MASK}@host/x"),
        ("https://ada:p@w123@host/x", f"https://{MASK}@host/x"),
        ("https://ada:pw123@host?to=a@b", f"https://{MASK}@host?to=a@b"),
        ("postgresql://u:p%40x@db:5432/m", f"postgresql://{MASK}@db:5432/m"),
        ("https://host/x?token=abcdef&page=2", f"https://host/x?token={MASK}&page=2"),
        ("https://host/x?a=1&api_key=abcdef", f"https://host/x?a=1&api_key={MASK}"),
        ("AKIAIOSFODNN7EXAMPLE in us-east-1", f"{MASK} in us-east-1"),
        (f"git clone https://{GITHUB}@github.com/x", f"git clone https://{MASK}@github.com/x"),
        ("Authorization: Bearer abc.def-ghi", f"Authorization: {MASK} {MASK}"),
        (f"jwt {JWT} end", f"jwt {MASK} end"),
        ("train.py --password hunter2 --epochs 3", f"train.py --password {MASK} --epochs 3"),
        ("train.py --password=hunter2 --epochs=3", f"train.py --password={MASK} --epochs=3"),
        ('{"api_key": "abc def", "lr": 1}', f'{{"api_key": "{MASK}", "lr": 1}}'),
        ("params.api_key = 'abc' and params.lr = '1'", f"params.api_key = '{MASK}' and params.lr = '1'"),
        ("params.`api_key` LIKE '%abc%'", f"params.`api_key` LIKE '{MASK}'"),
        ("params.hf_token != 'abc'", f"params.hf_token != '{MASK}'"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", MASK),
    ],
)
def test_secrets_in_text(text, shown):
    masked = redaction.mask_text(text)
    assert masked == shown or text.startswith("Authorization")
    assert not {"abcdef", "hunter2", "abc def", "abc.def-ghi", "pw123", "MIIE", GITHUB, JWT} & set(masked.split())
    assert "abc.def" not in masked


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/ada/repo.git",
        "git@github.com:ada/repo.git",
        "0123456789abcdef0123456789abcdef01234567",
        "max_tokens=512 tokenizer: bpe",
        "metrics.val_loss < 0.3 and params.key_dim = '64'",
        "2024-05-01T12:00:00Z",
        "s3://bucket/path?versionId=3",
        "a very plain sentence: with a colon, and the word token in it",
        "",
    ],
)
def test_plain_text_stays(text):
    assert redaction.mask_text(text) == text


@given(st.text(max_size=300))
def test_any_text_can_be_looked_at(text):
    assert isinstance(redaction.mask_text(text), str)


def test_long_text_takes_no_time():
    # A pattern that tries every beginning of every word would take minutes.
    for letter in ("x", "x.", "-", "a=", "://", "ey", '"'):
        redaction.mask_text(letter * 3000)


def test_of_one_name_different_secrets_stay_different():
    runs = [run_data(n, params={"api_key": key, "lr": "1"}) for n, key in enumerate(["k-one", "k-two", "k-one"])]
    masked = redaction.mask(bundle(*runs))
    assert [run.params["api_key"] for run in masked.runs] == [MASK, f"{MASK} (2)", MASK]
    assert {run.params["lr"] for run in masked.runs} == {"1"}


def test_names_asked_for_are_masked_too():
    masked = redaction.mask(bundle(run_data(params={"cohort.site": "Berlin", "lr": "1"})), ("SITE",))
    assert masked.runs[0].params == {"cohort.site": MASK, "lr": "1"}
    assert redaction.mask_text("params.site = 'Berlin'", ("site",)) == f"params.site = '{MASK}'"


def test_nothing_masked_is_anywhere_in_the_page():
    secret = "Zq8-very-secret-value"
    run = run_data(
        1,
        name=f"try {secret}",
        experiment=f"with {secret}",
        params={"api_key": secret, "note": f"used {secret}", "site": "Nowhere-on-Sea", "lr": "1"},
        tags={"mlflow.source.name": f"train.py --key-file x --api-key {secret}", "mlflow.user": f"u {secret}"},
        datasets=(Dataset(f"https://u:{secret}@host/d", "digest"),),
        frames=(Frame("a/b", 0, None, f"401 for https://u:{secret}@host"),),
    )
    other = run_data(2, params={"api_key": "another-secret-0", "lr": "2"}, histories={"loss": series(1, 2)})
    analysis = analysis_of(
        run,
        other,
        query=Query(
            "http://host", ("vision",), filters=(f"params.api_key = '{secret}'", "params.site = 'Nowhere-on-Sea'")
        ),
        excluded=(Excluded("3" * 32, f"n {secret}", f"token={secret}"),),
        notes=(f"note {secret}",),
        problems=("https://ada:pass1234@host failed",),
        redact=("^site$", "params.site"),
        baseline=f"try {secret}",
    )
    html = page.render(analysis)
    for word in (secret, "another-secret-0", "pass1234", "Nowhere-on-Sea"):
        assert word not in html
        assert word not in json.dumps(html)
        assert word not in repr(analysis)
    assert analysis.baseline is not None


def test_a_secret_tells_no_groups_apart():
    runs = [run_data(n, params={"api_key": f"key-{n}", "lr": str(n % 2), "seed": str(n)}) for n in range(4)]
    assert analysis_of(*runs).keys == ("lr",)
    assert analysis_of(*runs, group_by=("api_key",)).keys == ("api_key",)
