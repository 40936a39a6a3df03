"""The React hook of the licensing example: its types hold people to the events there are, and it works in a browser."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.tracker.collector import Collector, Site
from tests.tracker.conftest import Visitor
from tests.tracker.test_privacy import jwt

WEB = Path(__file__).parents[2] / "examples" / "licensing" / "web"
COMPILER = WEB / "node_modules" / ".bin" / "tsc"

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not COMPILER.exists(),
    reason="needs what `npm ci --ignore-scripts` installs in examples/licensing/web",
)


def compiler(*words: str) -> str:
    """What the compiler says; nothing when all is well."""
    return subprocess.run([COMPILER, *words], cwd=WEB, capture_output=True, text=True).stdout


def test_example_has_no_type_errors() -> None:
    """`tsc --noEmit` over the whole example."""
    assert compiler("--noEmit") == ""


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("track('asset_seen', {})", "'\"asset_seen\"' is not assignable to parameter of type"),
        ("track('cta_clicked', {})", "'place' is missing"),
        ("track('asset_viewed', { ip_asset_id: 7 })", "'number' is not assignable to type 'string'"),
        ("track('cta_clicked', { place: 'top', colour: 'red' })", "'colour' does not exist"),
        ("track('page_engaged', { engagement_time: 5 })", "'\"page_engaged\"' is not assignable"),
        ("identify('u1')", "'identify' does not exist"),
    ],
)
def test_mistaken_event_is_a_type_error(call: str, complaint: str, tmp_path: Path) -> None:
    """Unknown types, missing and unknown properties and wrong types are found before anything runs."""
    (tmp_path / "page.ts").write_text(
        f"import type {{ Analytics }} from {json.dumps(str(WEB / 'analytics'))};\n"
        f"declare const analytics: Analytics;\nanalytics.{call};\n"
    )
    config = {"extends": str(WEB / "tsconfig.json"), "include": [str(tmp_path / "page.ts")]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    assert complaint in compiler("--noEmit", "-p", str(tmp_path))


MODULES = {
    "react": "react/cjs/react.production.js",
    "react/jsx-runtime": "react/cjs/react-jsx-runtime.production.js",
    "react-dom": "react-dom/cjs/react-dom.production.js",
    "react-dom/client": "react-dom/cjs/react-dom-client.production.js",
    "scheduler": "scheduler/cjs/scheduler.production.js",
}
EXPORTS = {
    "react": "createContext, useContext, useEffect, useLayoutEffect, createElement",
    "react/jsx-runtime": "jsx, jsxs, Fragment",
    "react-dom/client": "createRoot",
}


@pytest.fixture
def app(site: Site, collector: Collector, tmp_path: Path) -> Site:
    """A page that renders the example's component, from the example's own files."""
    assert compiler("--noEmit", "false", "--outDir", str(tmp_path)) == ""
    site.scripts = {f"/{one.stem}": one.read_text() for one in tmp_path.glob("*.js")}
    sources = ",".join(
        f"{json.dumps(name)}(module,exports,require){{{(WEB / 'node_modules' / path).read_text()}\n}}"
        for name, path in MODULES.items()
    )
    site.scripts["/modules"] = (
        f"const sources={{{sources}}},loaded={{}};export const require=(name)=>{{if(!loaded[name])"
        "{const module=loaded[name]={exports:{}};sources[name](module,module.exports,require)}return loaded[name].exports}"
    )
    for name, exports in EXPORTS.items():
        site.scripts[f"/{name}"] = f"import {{require}} from '/modules';export const {{{exports}}}=require('{name}')"
    imports = json.dumps({"imports": {name: f"/{name}" for name in EXPORTS}})
    site.html = f"""<!doctype html><link rel=icon href=data:,><div id=root></div>
        <script type=importmap>{imports}</script><script type=module>
        import {{ createElement as h }} from "react"; import {{ createRoot }} from "react-dom/client";
        import {{ createAnalytics }} from "/analytics"; import {{ AnalyticsProvider }} from "/useAnalytics";
        import {{ AssetPage }} from "/AssetPage";
        const analytics = createAnalytics({{ host: "{collector.host}", key: "wk_1" }});
        createRoot(root).render(h(AnalyticsProvider, {{ analytics, token: "{jwt("u1")}" }},
            h(AssetPage, {{ asset: "a7", project: "p1", license: "l1" }})));
        </script>"""
    return site


def test_hook_tells_what_components_say(app: Site, visitor: Visitor, collector: Collector) -> None:
    """Effects before the tracker has come, clicks by call and by attribute, and the user of the provider's token."""
    page = visitor.context.new_page()
    page.goto(visitor.url("/assets/a7"))
    page.click("button")
    page.click("a")
    viewed, clicked, followed = (
        collector.wait_for(kind)[0] for kind in ("asset_viewed", "license_clicked", "cta_clicked")
    )
    assert viewed["properties"] == {"ip_asset_id": "a7", "project_id": "p1"}
    assert (viewed["entity_type"], viewed["entity_id"]) == ("ip_asset", "a7")
    assert clicked["properties"] == {"ip_asset_id": "a7", "license_id": "l1"}
    assert followed["properties"] == {"place": "asset page"}
    assert {one.envelope.get("token") for one in collector.requests} == {jwt("u1")}


def test_hook_goes_without_a_tracker(app: Site, visitor: Visitor, collector: Collector) -> None:
    """Behind an ad blocker the page works as it would; nobody sees an exception."""
    page = visitor.context.new_page()
    page.on("pageerror", lambda error: visitor.errors.append(str(error)))
    page.route("**/dayfold.mjs", lambda route: route.abort())
    page.goto(visitor.url("/assets/a7"))
    page.click("button")
    assert page.inner_text("a") == "Prices"
    assert collector.requests == []
