"""The page that people sign in at: plain HTML without scripts, nothing of it from elsewhere. HTTP door.

Invariant: every text that is put into a page is escaped, and the page may load and run nothing.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from string import Template
from urllib.parse import quote

from starlette.responses import HTMLResponse

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 22rem; margin: 12vh auto; padding: 0 1rem; color-scheme: light dark }
label, input, button, a.button { display: block; width: 100%; box-sizing: border-box }
input, button, a.button { font: inherit; padding: .6rem; margin: .2rem 0 1rem; border: 1px solid #777; border-radius: .3rem }
button, a.button { background: #1d4ed8; color: #fff; text-align: center; text-decoration: none; cursor: pointer }
:focus-visible { outline: 3px solid #f59e0b; outline-offset: 2px }
[role=alert] { border-left: .3rem solid #b91c1c; padding-left: .7rem }
"""
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title · Dayfold</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$content
</main>
</body>
</html>
""")
_ALERT = Template('<p role="alert">$message</p>\n')
_FORM = Template("""<form method="post" action="/sign-in">
<input type="hidden" name="next" value="$onward">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Sign in</button>
</form>
""")
_OIDC = Template('<p><a class="button" href="/sign-in/oidc?next=$onward">Sign in with your organisation</a></p>\n')
_SIGNED_IN = Template("""<p>You are signed in as $name.</p>
<form method="post" action="/sign-out">
<input type="hidden" name="csrf_token" value="$csrf">
<button type="submit">Sign out</button>
</form>
""")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    # Not no-referrer: browsers would then send forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def sign_in(
    onward: str, *, has_oidc: bool, message: str = "", status: int = 200, retry_after_s: int = 0
) -> HTMLResponse:
    """The page with the form; ``message`` says what was wrong the last time."""
    alert = _ALERT.substitute(message=escape(message)) if message else ""
    form = _FORM.substitute(onward=escape(onward))
    oidc = _OIDC.substitute(onward=escape(quote(onward, safe="/"))) if has_oidc else ""
    more = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
    return _answer("Sign in", alert + form + oidc, status, more)


def signed_in(name: str, csrf: str) -> HTMLResponse:
    """The page of somebody who is signed in."""
    return _answer("Signed in", _SIGNED_IN.substitute(name=escape(name), csrf=escape(csrf)), 200, {})


def _answer(title: str, content: str, status: int, more: dict[str, str]) -> HTMLResponse:
    page = _PAGE.substitute(title=escape(title), style=_STYLE, content=content)
    return HTMLResponse(page, status, _HEADERS | more)
