"""The lists in the package are those of their authors, whole, and every line of them is found again.

Data: referrer lists (CC0) and crawler-user-agents (MIT).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dayfold.collect.lists import read
from dayfold.collect.referrers import referrer_of
from tests.field import lists

FOLDER = Path(os.environ.get("DAYFOLD_FIELD_DATA", "nowhere"))
pytestmark = pytest.mark.skipif(
    not ((FOLDER / "referrers").is_dir() and (FOLDER / "ua_bots").is_dir()),
    reason="needs DAYFOLD_FIELD_DATA: the folder with referrers and ua_bots, the lists as their authors publish them",
)
#: Search engines that another list names too, which counts.
ELSEWHERE = {
    "chat.openai.com": ("ai", "ChatGPT"),
    "chatgpt.com": ("ai", "ChatGPT"),
    "www.perplexity.ai": ("ai", "Perplexity"),
    "you.com": ("ai", "You"),
    "www.facebook.com": ("social", "Facebook"),
    "searchservice.myspace.com": ("social", "Myspace"),
    "search.fbdownloader.com": ("spam", "fbdownloader.com"),
    "search.iminent.com": ("spam", "iminent.com"),
}


@pytest.mark.parametrize("name", ["bots.txt", "referrers.json"])
def test_package_holds_what_was_published(name: str) -> None:
    """Letter for letter what comes of the published files; with DAYFOLD_REFRESH_LISTS, it is written anew."""
    whole = {"bots.txt": lists.bots, "referrers.json": lists.referrers}[name](FOLDER)
    if os.environ.get("DAYFOLD_REFRESH_LISTS"):
        (lists.PACKAGED / name).write_text(whole, encoding="utf-8")
    assert read(name) == whole


def test_licences_travel_with_the_lists() -> None:
    """As their authors wrote them."""
    for ours, theirs in {
        "LICENSE-bots.txt": "ua_bots/LICENSE.txt",
        "LICENSE-referrers.txt": "referrers/LICENSE_CC0.txt",
    }.items():
        assert read(ours) == (FOLDER / theirs).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["social", "ai"])
def test_networks_and_assistants_are_found(kind: str) -> None:
    """Each address, and a host below it."""
    for name, urls in json.loads(read("referrers.json"))[kind]:
        for url in urls:
            for sent in (f"https://{url}", f"http://www.{url}/", f"https://abc.{url}/x?y=z"):
                found = referrer_of(sent)
                assert (found.kind, found.name) == (kind, name), sent


def test_search_engines_are_found() -> None:
    """Each address, with countries where it has a place for them, by its name."""
    count = 0
    for name, urls, _, _ in json.loads(read("referrers.json"))["search"]:
        for url in urls:
            # The two that are an app's name.
            if "com.google.android" in url:
                continue
            for sent in {url.replace("{}", "de"), url.replace("{}", "fr")}:
                found = referrer_of(f"https://{sent}")
                assert (found.kind, found.name) == ELSEWHERE.get(url, ("search", name)), sent
                count += 1
    assert count > 600


def test_words_are_found_by_each_engines_parameters() -> None:
    """The first parameter of each engine brings the words."""
    for name, urls, parameters, _ in json.loads(read("referrers.json"))["search"]:
        plain = [parameter for parameter in parameters if parameter.strip() and not parameter.startswith("/")]
        for url in urls:
            if not plain or "com.google.android" in url or url in ELSEWHERE:
                continue
            found = referrer_of(f"https://{url.replace('{}', 'de')}?{plain[0]}=two+words")
            assert (found.name, found.words) == (name, "two words"), url


def test_spam_is_found() -> None:
    """Each of 2,347 domains and what is below it."""
    spam = lists.spammers(FOLDER)
    assert len(spam) > 2_000
    for domain in spam:
        for sent in (f"http://{domain}/", f"https://www.{domain}/x", f"https://a.b.{domain}"):
            assert referrer_of(sent).kind == "spam", sent
