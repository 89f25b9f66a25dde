"""The page as a browser without scripts has it: log in, look, change something, log out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import httpx
import pytest

from pubworks.states import Scope
from pubworks.store import tokens

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def served(served_page: Any) -> Any:
    """A server on SQLite; test_page_fleet has what differs on PostgreSQL."""
    return served_page


@contextmanager
def browser(served: Any, owner: str, *scopes: Scope) -> Iterator[httpx.Client]:
    """Give a browser of somebody who has logged in."""
    with httpx.Client(base_url=served.url, headers=HTML, timeout=30, trust_env=False) as http:
        answer = http.post("/login", data={"token": served.token(owner, *(scopes or (Scope.SUBMIT,)))})
        assert answer.status_code == 303, answer.text
        yield http


def form_of(html: str) -> str:
    """Return the token that the forms of a page send."""
    return re.search(r'name="form" value="(\w+)"', html)[1]  # type: ignore[index]


def test_who_is_not_logged_in_is_sent_to_the_login_and_comes_back(served: Any) -> None:
    with httpx.Client(base_url=served.url, headers=HTML, trust_env=False) as http:
        answer = http.get("/jobs?status=DONE")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fjobs%3Fstatus%3DDONE")
        long = http.get(f"/jobs?name={'x' * 2000}")
        assert http.get(long.headers["location"]).status_code == 200
        page = http.get(answer.headers["location"])
        assert 'action="/login?next=/jobs%3Fstatus%3DDONE"' in page.text
        wrong = http.post("/login?next=/jobs", data={"token": "pw_0_1"})
        assert wrong.status_code == 401
        assert "is unknown" in wrong.text
        token = served.token("ann", Scope.READ)
        right = http.post("/login?next=/jobs%3Fstatus%3DDONE", data={"token": token})
        assert (right.status_code, right.headers["location"]) == (303, "/jobs?status=DONE")
        cookie = right.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert token not in cookie
        with served.user("root", Scope.ADMIN) as root:
            told = root.get("/v1/audit?limit=1").json()["entries"][0]
        assert (told["who"], told["token"], told["what"]) == ("ann", token.split("_")[1], "POST /login")
        assert http.get("/jobs?status=DONE").status_code == 200


def test_cookies_of_other_servers_of_this_machine_are_in_nobodys_way(served: Any) -> None:
    with browser(served, "ann") as http:
        mine = http.cookies.get("pubworks_login")
        for other in ('settings={"dark": true}', "@x=1", "flag", "na me=1", "caf\u00e9=1"):
            answer = http.get("/jobs", headers={"Cookie": f"{other}; pubworks_login={mine}".encode()})
            assert answer.status_code == 200, other


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_a_login_leads_nowhere_else(served: Any, to: str) -> None:
    with httpx.Client(base_url=served.url, headers=HTML, trust_env=False) as http:
        answer = http.post("/login", params={"next": to}, data={"token": served.token("ann", Scope.READ)})
        assert answer.headers["location"] == "/"


def test_a_login_ends_with_its_token_and_when_one_logs_out(served: Any) -> None:
    with browser(served, "ann") as one, browser(served, "ann") as other:
        token = one.get("/v1/me", headers={"Accept": "application/json"})
        assert token.status_code == 401  # the API knows no cookie
        form = form_of(one.get("/jobs").text)
        cookies = dict(one.cookies)
        assert one.post("/logout", data={"form": form}).headers["location"] == "/login"
        one.cookies.update(cookies)
        assert one.get("/jobs").status_code == 303
        assert other.get("/jobs").status_code == 200
        with served.client.store.write() as connection:
            for row in tokens.list_tokens(connection):
                if row.owner == "ann":
                    tokens.revoke(connection, row.id)
        assert other.get("/jobs").status_code == 303


def test_the_same_url_has_the_same_document_as_the_api(served: Any) -> None:
    job = served.job(owner="ann", name="mine")
    with browser(served, "ann") as http, served.user("ann") as api:
        for path in ("/jobs?limit=5", f"/jobs/{job}"):
            answer = http.get(path, headers={"Accept": "application/json"})
            assert answer.headers["content-type"] == "application/json"
            assert answer.json() == api.get(f"/v1{path}").json()
        html = http.get(f"/jobs/{job}")
        assert html.headers["content-type"].startswith("text/html")
        assert html.headers["vary"] == "accept"
        assert "mine" in html.text


def test_a_browser_may_do_little_with_a_page(served: Any) -> None:
    job = served.job(owner="ann")
    with browser(served, "ann") as http:
        for path in ("/jobs", f"/jobs/{job}", "/login", "/nothing"):
            answer = http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "unsafe" not in policy
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"<[^>]+\s(style|on\w+)=", answer.text)
            assert re.findall(r"<script(?![^>]* src=)", answer.text) == []
        script = re.search(r'src="(/static/page.js\?v=\w+)"', http.get("/jobs").text)[1]  # type: ignore[index]
        assert "immutable" in http.get(script).headers["cache-control"]
        # A hash of another version, whose server stands beside this one; and a file of another.
        assert http.get("/static/page.js?v=0123456789").headers["cache-control"] == "public, max-age=86400"
        assert http.get("/static/other.js?v=0123456789").headers["cache-control"] == "no-store"


def test_a_page_that_is_not_there_is_told_as_a_page(served: Any) -> None:
    with browser(served, "ann", Scope.READ) as http:
        answer = http.get("/jbos/<b>?x=7")
        assert answer.status_code == 404
        assert "There is no page &#39;/jbos/&lt;b&gt;&#39; here." in answer.text
        assert links_of(answer.text) == ["/jobs", "/"]
        assert 'aria-label="Pages"' in answer.text
        assert "openapi" not in answer.text
        for path, status in (("/jobs?limit=x", 422), ("/logout", 405)):
            answer = http.get(path)
            assert (answer.status_code, "openapi" in answer.text, links_of(answer.text)) == (
                status,
                False,
                ["/jobs", "/"],
            )
        assert http.get("/v1/jobs").status_code == 401
        assert http.post("/nothing").status_code == 401
    with served.user("ann") as api:
        told = api.get("/nothing")
        assert (told.headers["content-type"], told.json()["status"]) == ("application/problem+json", 404)
        assert "/v1/openapi.json" in told.json()["detail"]
    with httpx.Client(base_url=served.url, headers=HTML, trust_env=False) as http:
        assert http.get("/nothing").headers["location"] == "/login?next=%2Fnothing"


@pytest.fixture
def job_of_ben(served: Any) -> Iterator[str]:
    """A job that all may see, as long as the test lasts."""
    job = served.job(owner="ben", name="for all", shared=True)
    yield job
    served.client.job(job).shared = False


def test_what_one_may_not_see_or_do_is_told_with_the_way_back(served: Any, job_of_ben: str) -> None:
    with browser(served, "ann", Scope.READ) as http:
        for path, status, words, links in (
            ("/jobs/01NOTHING", 404, "No job &#39;01NOTHING&#39;", ["/jobs", "/"]),
            ("/jobs/01NO/cancel", 403, "the scope submit; yours has read", ["/jobs/01NO", "/jobs", "/"]),
            (f"/jobs/{job_of_ben}/tags", 403, "scope submit; yours has read", [f"/jobs/{job_of_ben}", "/jobs", "/"]),
            ("/held", 403, "needs a token with the scope operate; yours has read", ["/jobs", "/"]),
            ("/backends/basic/limits", 403, "needs a token with the scope operate", ["/backends", "/"]),
        ):  # fmt: skip
            answer = http.get(path)
            assert (answer.status_code, words in answer.text, links_of(answer.text)) == (status, True, links), path
        text = http.get("/jobs/01NOTHING").text
        assert "another user&#39;s, who does not share it" in text
        assert "PUBWORKS_DATABASE" not in text
    with served.user("ann", Scope.READ) as api:
        told = api.get("/v1/jobs/01NOTHING", headers=HTML)
        assert (told.headers["content-type"], told.status_code) == ("application/problem+json", 404)


def links_of(html: str) -> list[str]:
    """Return where the content of a page leads."""
    return re.findall(r'<a [^>]*href="([^"]+)"', html.partition("<main")[2])


def test_what_people_write_stays_text(served: Any) -> None:
    evil = "<script>alert(1)</script>"
    job = served.job(owner="ann", name=evil, tags=('"><img src=x onerror=alert(1)>',))
    with browser(served, "ann") as http:
        for path in ("/jobs", f"/jobs/{job}", f"/jobs/{job}/tags", f"/jobs/{job}/shared", f"/jobs?name={evil}"):
            text = http.get(path).text
            assert evil not in text
            assert "<img" not in text
            assert "&lt;script&gt;" in text


def test_a_form_needs_the_login_that_made_it(served: Any) -> None:
    job = served.job(owner="ann")
    with browser(served, "ann") as http, browser(served, "ann") as other:
        mine, theirs = (form_of(one.get(f"/jobs/{job}/tags").text) for one in (http, other))
        for data, headers in (
            ({}, {}), ({"form": theirs}, {}), ({"form": "\u00e9"}, {}), ({"form": mine}, {"Origin": "http://evil"}),
            ({"form": mine}, {"Origin": "http://["}),
        ):  # fmt: skip
            answer = http.post(f"/jobs/{job}/tags", data={"tags": "x", **data}, headers=headers)
            assert answer.status_code == 403
        answer = http.post(f"/jobs/{job}/tags", data={"tags": "a, b,,a", "form": mine, "why": "sorting"})
        assert answer.headers["location"] == f"/jobs/{job}"
        with served.http(served.token("root", Scope.ADMIN)) as admin:
            newest = admin.get("/v1/audit?limit=1").json()["entries"][0]
            assert (newest["who"], newest["why"], newest["what"]) == ("ann", "sorting", f"POST /jobs/{job}/tags")
            assert admin.get(f"/v1/jobs/{job}").json()["tags"] == ["a", "b"]
            many = http.post(f"/jobs/{job}/tags", data={"tags": ",".join(map(str, range(101))), "form": mine})
            assert (many.status_code, "at most 100 tags" in many.text) == (422, True)
            assert admin.get(f"/v1/jobs/{job}").json()["tags"] == ["a", "b"]


def test_who_may_only_read_sees_no_button_and_changes_nothing(served: Any) -> None:
    job = served.job(owner="ann")
    with browser(served, "ann", Scope.READ) as http:
        page = http.get(f"/jobs/{job}").text
        assert f"/jobs/{job}/tags" not in page
        assert http.get(f"/jobs/{job}/tags").status_code == 403
        for deed in ("tags", "shared", "cancel", "retry"):
            assert http.post(f"/jobs/{job}/{deed}", data={"form": form_of(page)}).status_code == 403


def test_who_has_no_job_is_told_how_to_submit_one_if_they_may(serve_on: Any) -> None:
    with serve_on() as served, browser(served, "new") as http, browser(served, "guest", Scope.READ) as guest:
        page = unescape(http.get("/jobs").text)
        assert f'client = Client("{served.url}")' in page
        assert re.search(r'Sampler\("\w+", client=client\)\.run\(\[circuit\]\)', page)
        page = guest.get("/jobs").text
        assert "No job yet that you may see." in page
        assert "Sampler" not in page


def test_what_one_may_not_see_is_not_there(served: Any, job_of_ben: str) -> None:
    secret = served.job(owner="ben", name="of ben")
    with browser(served, "ann") as http:
        assert http.get(f"/jobs/{secret}").status_code == 404
        assert "No job" in http.get(f"/jobs/{secret}").text
        assert http.get(f"/live/jobs/{secret}").status_code == 404
        assert "of ben" not in http.get("/jobs").text
        page = http.get(f"/jobs/{job_of_ben}").text
        assert "for all" in page
        assert f"/jobs/{job_of_ben}/tags" not in page


def test_a_job_is_shared_by_its_owner_and_operators(served: Any) -> None:
    job = served.job(owner="ann", name="of ann")
    path = f"/jobs/{job}/shared"
    with browser(served, "ann") as ann, browser(served, "ben") as ben, browser(served, "olga", Scope.OPERATE) as olga:
        page = ann.get(path).text
        form = form_of(page)
        assert "of ann" in page
        assert 'name="shared" value="true"' in page
        assert ben.post(path, data={"form": form_of(ben.get("/jobs").text), "shared": "true"}).status_code == 404
        said = {"form": form, "shared": "true", "why": "for the group"}
        assert ann.post(path, data=said).headers["location"] == f"/jobs/{job}"
        assert "of ann" in ben.get("/jobs").text
        assert path not in ben.get(f"/jobs/{job}").text
        assert ben.get(path).status_code == 403
        page = olga.get(path).text
        assert 'name="shared" value="false"' in page
        assert olga.post(path, data={"form": form_of(page), "shared": "false"}).headers["location"] == f"/jobs/{job}"
        assert ben.get(f"/jobs/{job}").status_code == 404
        assert ann.post(path, data={"form": form, "shared": "perhaps"}).status_code == 422


def test_a_list_goes_on_where_it_ended(served: Any) -> None:
    for number in range(5):
        served.job(owner="carl", name=f"job {number}")
    with browser(served, "carl") as http:
        first = http.get("/jobs?limit=3").text
        assert re.findall(r"job \d", first) == ["job 4", "job 3", "job 2"]
        older = re.search(r'href="(/jobs\?[^"]+)" rel="next"', first)[1].replace("&amp;", "&")  # type: ignore[index]
        assert re.findall(r"job \d", http.get(older).text) == ["job 1", "job 0"]
        assert "job" not in re.findall(r"job \d", http.get("/jobs?status=FAILED").text)
        assert http.get("/jobs?status=&backend=&limit=").status_code == 200
        assert http.get("/jobs?cursor=x").status_code == 422


def test_a_page_follows_what_happens_and_sends_only_what_differs(served: Any) -> None:
    with browser(served, "dora") as http:
        page = http.get("/jobs").text
        url = re.search(r'sse-connect="([^"]+)"', page)[1].replace("&amp;", "&")  # type: ignore[index]
        with http.stream("GET", url) as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": here"
            served.job(owner="ben")
            served.job(owner="dora", name="just now")
            told = [next(line for line in lines if line.startswith("event:"))]
            told.append(next(line for line in lines if "just now" in line))
        assert told[0] == "event: rows"


def test_who_follows_a_link_of_another_site_is_not_sent_to_the_login_at_once(served: Any) -> None:
    """A strict cookie is not sent then: the browser is asked to come again, now from here."""
    with httpx.Client(base_url=served.url, headers=HTML, trust_env=False) as http:
        answer = http.get("/jobs?tag=x%22", headers={"Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.text.count('http-equiv="refresh"')) == (200, 1)
        assert 'href="/jobs?tag=x%22"' in answer.text
        assert http.get("/jobs", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
