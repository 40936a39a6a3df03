"""Where a visitor came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfold.collect import referrers
from dayfold.collect.referrers import NONE, referrer_of


@pytest.mark.parametrize(
    ("sent", "kind", "name"),
    [
        ("https://www.google.com/", "search", "Google"),
        ("https://www.google.co.uk/", "search", "Google"),
        ("https://google.com.au:443/search", "search", "Google"),
        ("HTTPS://WWW.GOOGLE.DE", "search", "Google"),
        ("//google.fr/", "search", "Google"),
        ("https://news.google.com/articles/x", "search", "Google News"),
        ("https://www.bing.com/images/search?q=a", "search", "Bing Images"),
        ("https://fr.search.yahoo.com/", "search", "Yahoo!"),
        ("https://duckduckgo.com/", "search", "DuckDuckGo"),
        ("https://l.facebook.com/l.php?u=x", "social", "Facebook"),
        ("https://m.facebook.com/", "social", "Facebook"),
        ("https://old.reddit.com/r/a", "social", "reddit"),
        ("https://t.co/abc", "social", "Twitter"),
        ("https://x.com/jane", "social", "Twitter"),
        ("https://x.com/i/grok?conversation=1", "ai", "Grok"),
        ("https://x.com/i/grokking", "social", "Twitter"),
        ("https://chatgpt.com/", "ai", "ChatGPT"),
        ("https://www.perplexity.ai/search", "ai", "Perplexity"),
        ("https://gemini.google.com/app", "ai", "Gemini"),
        ("https://www.0n-line.tv/", "spam", "0n-line.tv"),
        ("https://a.b.qiwi.xyz/", "spam", "qiwi.xyz"),
        ("https://mail.google.com/", "other", "mail.google.com"),
        ("https://www.blog.example.net/post", "other", "blog.example.net"),
        ("http://[::1]:80/", "other", "[::1]"),
        ("https://bücher.example/", "other", "xn--bcher-kva.example"),
    ],
)
def test_class_and_name(sent: str, kind: str, name: str) -> None:
    """By host, with or without www, country, port and path."""
    found = referrer_of(sent)
    assert (found.kind, found.name) == (kind, name)


@pytest.mark.parametrize(
    "sent",
    ["https://google.com.evil.ru/", "https://evilgoogle.com/", "https://notfacebook.com/", "https://x.com@evil.net/"],
)
def test_names_that_only_look_like_one_are_others(sent: str) -> None:
    """A host is compared part by part, and a user before it is not a host."""
    assert referrer_of(sent).kind == "other"


@pytest.mark.parametrize(
    ("sent", "kind", "name"),
    [
        ("android-app://com.google.android.googlequicksearchbox/https/www.google.com", "search", "Google"),
        ("android-app://com.linkedin.android", "social", "LinkedIn"),
        ("android-app://com.facebook.katana/", "social", "Facebook"),
        ("android-app://com.openai.chatgpt/", "ai", "ChatGPT"),
        ("android-app://com.google.android.gm/", "other", "com.google.android.gm"),
    ],
)
def test_apps_name_their_package(sent: str, kind: str, name: str) -> None:
    """A package turned round is a host of the lists, or it stands in a list of its own."""
    found = referrer_of(sent)
    assert (found.kind, found.name) == (kind, name)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("https://www.google.com/search?q=daily+metrics&hl=en", "daily metrics"),
        ("https://www.google.com/search?hl=en", ""),
        ("https://search.yahoo.com/search?p=caf%C3%A9", "café"),
        ("https://www.baidu.com/s?wd=%D6%D0%B9%FA", "中国"),
        ("https://1.cz/s/hello/", "hello"),
        ("https://www.facebook.com/search?q=daily", "daily"),
        ("https://www.google.com/search?q=jane%40example.com+photos", "(removed)"),
    ],
)
def test_words_of_a_search(sent: str, said: str) -> None:
    """In the engine's parameter or path and its encodings, without what tells who somebody is."""
    found = referrer_of(sent)
    assert found.kind == "search"
    assert found.words == said


def test_own_hosts_are_internal() -> None:
    """However they are written, and whatever stands below them; before every list."""
    own = ["https://www.Example.com/", "chatgpt.com"]
    for sent in (
        "https://example.com/a",
        "https://www.example.com/",
        "http://shop.example.com/",
        "https://chatgpt.com/",
    ):
        assert referrer_of(sent, own).kind == "internal"
    assert referrer_of("https://badexample.com/", own).kind == "other"


@pytest.mark.parametrize(
    "junk",
    [
        None,
        "",
        7,
        b"https://x.org",
        [],
        "about:blank",
        "google.com",
        "https://",
        "https:///x",
        "https://<b>/",
        "javascript:alert(1)",
        "https://a b/",
    ],
)
def test_what_is_no_address_says_nothing(junk: object) -> None:
    """Neither an error nor a class."""
    assert referrer_of(junk) == NONE


def test_long_hosts_are_none() -> None:
    """A host longer than a name can be is nothing."""
    assert referrer_of(f"https://{'a.' * 124}com/").kind == "other"
    assert referrer_of(f"https://{'a.' * 126}com/") == NONE


@given(
    st.text(max_size=200), st.sampled_from(["", "https://", "android-app://", "//", "https://www.google.com/search?q="])
)
def test_no_referrer_raises_and_results_can_be_stored(sent: str, before: str) -> None:
    """Nothing that a client sends leaves letters that a database refuses."""
    found = referrer_of(before + sent, ["example.com", sent])
    for part in (found.name, found.words, found.host):
        part.encode()
        assert "\x00" not in part


def test_hosts_that_are_kept_are_bounded() -> None:
    """Whoever sends new hosts for ever fills no memory."""
    assert referrers._known.cache_info().maxsize == referrers._ascii.cache_info().maxsize == referrers.KEPT_HOSTS
