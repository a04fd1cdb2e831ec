"""Checks the console in headless Chromium: a real log, a real policy, a real browser.

    tests/browser/run

builds what it needs and runs it. It leaves nothing behind, and pictures of the pages below
target/browser-shots for whoever wants to see them.
"""

import contextlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

sys.dont_write_bytecode = True

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
SHOTS = ROOT / "target" / "browser-shots"
PATIENCE = 20  # seconds

POLICY = """\
acl 1
group @course = alice, bob, carol
@course | course/*       | read  | allow
*       | grades/**      | *     | deny
bob     | grades/summary | read  | allow
mallory | nothing        | read  | allow
"""

# A name that would run if it were ever taken for HTML; `ran` says whether it did.
HOSTILE = "<img src=x onerror=document.title='ran'><script>document.title='ran'</script>\"'&amp;"
HIDDEN = "course/a\u202etxt.exe"


class Server:
    """A monitor that judges and audits, without a network: the example `refuse`."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [BUILT / "examples" / "refuse", folder / "audit.jsonl", folder / "policy.acl"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def refuse(self, principal, verb, object_):
        line = json.dumps({"principal": principal, "verb": verb, "object": object_,
                           "peer": "10.0.0.7:5123"})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer.startswith("deny"), f"{line}: {answer!r}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)


class Console:
    """`bailiwick console` over the folder's log and policy."""

    def __init__(self, folder, *more):
        command = [BUILT / "bailiwick", "console", "--audit", folder / "audit.jsonl",
                   "--policy", folder / "policy.acl", "--listen", "127.0.0.1:0", *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        word, self.url = self.process.stdout.readline().split()
        assert word == "console", word
        self.base = self.url.split("?")[0]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)


class Metrics(http.server.BaseHTTPRequestHandler):
    """A page as a server's, whose figures grow."""

    calls = 0

    def do_GET(self):
        Metrics.calls += 250
        lines = [f'bailiwick_calls_total{{outcome="ok"}} {Metrics.calls}']
        for bound, share in (("0.0001", 0.5), ("0.001", 0.99), ("+Inf", 1)):
            lines.append(f'bailiwick_call_duration_seconds_bucket{{le="{bound}"}} '
                         f"{Metrics.calls * share}")
        self.send_response(200)
        self.end_headers()
        self.wfile.write("\n".join(lines).encode() + b"\n")

    def log_message(self, *_):
        pass


def browser(profile, width=1280, scheme="light"):
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
                 "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--hide-scrollbars",
                 f"--user-data-dir={profile}", f"--window-size={width},1000"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(PATIENCE)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                           {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False})
    return driver


class Page:
    """What the checks ask of the browser."""

    def __init__(self, driver, console):
        self.driver, self.console = driver, console

    def open(self, path):
        self.driver.get(self.console.base.rstrip("/") + path)

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, claim, script):
        try:
            WebDriverWait(self.driver, PATIENCE, 0.1).until(lambda _: self.js(f"return {script}"))
        except Exception as error:
            self.picture("failed")
            text = self.driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError(f"it never came to be that {claim}:\n{text}") from error

    def objects(self):
        return self.js("return [...document.querySelectorAll('#rows .c-object')].map(c => c.textContent)")

    def until_objects(self, wanted):
        cells = "JSON.stringify([...document.querySelectorAll('#rows .c-object')].map(c => c.textContent))"
        self.until(f"the objects are {wanted}", f"{cells} === {json.dumps(json.dumps(wanted, ensure_ascii=False, separators=(',', ':')))}")

    def click(self, selector):
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def picture(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SHOTS / f"{name}.png"))

    def assert_quiet(self):
        """No violation of the content security policy, no error, nothing else on the browser's console."""
        said = self.driver.get_log("browser")
        assert not said, said


CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@check
def the_token_leaves_the_address_and_a_stranger_gets_nothing(world, page):
    page.driver.get(world.console.url)
    assert page.driver.current_url == world.console.base, page.driver.current_url
    assert page.js("return document.cookie") == "", "scripts can read the cookie"
    try:
        urllib.request.urlopen(world.console.base)
        raise AssertionError("a page without a token")
    except urllib.error.HTTPError as error:
        assert error.code == 401, error.code


@check
def a_refusal_shows_up_live_without_a_reload(world, page):
    page.open("/")
    page.until("it is live", "document.getElementById('live').dataset.state === 'on'")
    page.js("window.same = 'page'")
    world.server.refuse("bob", "write", "course/live")
    page.until("the refusal is there",
               "document.querySelector('#rows .c-object')?.textContent === 'course/live'")
    assert page.js("return window.same") == "page", "the page was loaded anew"


@check
def updates_keep_the_focus_the_selection_and_the_layout(world, page):
    page.open("/")
    page.until("rows are there", "document.querySelector('#rows a')")
    page.until("it is live", "document.getElementById('live').dataset.state === 'on'")
    page.js("""
        window.shifts = [];
        new PerformanceObserver(list => {
            for (const entry of list.getEntries()) {
                // New rows move the older ones in their table, and nothing else moves.
                const outside = entry.sources.filter(s => s.node && !(s.node.closest?.('tbody')
                    || s.node.parentElement?.closest('tbody')));
                window.shifts.push(...outside.map(s => [s.node.outerHTML ?? s.node.data,
                    JSON.stringify(s.previousRect), JSON.stringify(s.currentRect)].join(' ')));
            }
        }).observe({type: 'layout-shift'});
        document.querySelector('#rows a').focus();
        window.focused = document.activeElement;
        document.querySelector('input[name=principal]').value = 'half typed';
    """)
    for number in range(3):
        before = page.js("return document.querySelectorAll('#rows tr').length")
        world.server.refuse("carol", "write", f"course/shift-{number}")
        page.until("the row is there", f"document.querySelectorAll('#rows tr').length > {before}")
    assert page.js("return document.activeElement === window.focused"), "the focus was lost"
    assert page.js("return document.querySelector('input[name=principal]').value") == "half typed"
    assert page.js("return window.shifts") == [], page.js("return window.shifts")


@check
def a_hostile_name_is_shown_as_text_and_runs_nothing(world, page):
    page.open("/")
    page.until("it is live", "document.getElementById('live').dataset.state === 'on'")
    world.server.refuse("mallory", "read", HOSTILE)
    world.server.refuse("mallory", "read", HIDDEN)
    page.until("the names are there", "document.querySelectorAll('#rows .c-object').length > 1 && "
               "document.querySelector('#rows .c-object').textContent.includes('txt.exe')")
    assert page.objects()[:2] == [HIDDEN.replace("\u202e", "\\u{202e}"), HOSTILE], page.objects()
    page.click("#rows tr:nth-child(2) a")
    page.until("the record is there", "document.querySelector('h1').textContent.startsWith('Record')")
    cells = page.js("return [...document.querySelectorAll('.fields td')].map(c => c.textContent)")
    assert HOSTILE in cells, cells
    page.open("/suggest")
    page.until("rows are proposed", "document.querySelector('.proposal')")
    for path in ("/", "/suggest"):
        page.open(path)
        assert page.js("return document.images.length + document.scripts.length") == 1, path
        assert page.driver.title != "ran"


@check
def filters_choose_and_what_is_live_stays_chosen(world, page):
    page.open("/")
    for name, value in (("principal", "bob"), ("object", "course/**")):
        field = page.driver.find_element(By.NAME, name)
        field.send_keys(value)
    # From the keyboard.
    page.driver.find_element(By.NAME, "object").send_keys(Keys.ENTER)
    page.until_objects(["course/live"])
    world.server.refuse("carol", "write", "course/not-wanted")
    world.server.refuse("bob", "write", "course/wanted")
    page.until_objects(["course/wanted", "course/live"])
    page.click(".buttons a")
    page.until("all are back", "document.querySelectorAll('#rows tr').length > 4")
    page.driver.find_element(By.NAME, "since").send_keys("soon" + Keys.ENTER)
    page.until("the mistake is told", "document.getElementById('bad')?.textContent.includes('15m')")


@check
def a_record_shows_the_deciding_row_and_the_near_miss(world, page):
    world.server.refuse("bob", "read", "grades/summary")
    page.open("/?object=grades/summary")
    page.until("the refusal is there", "document.querySelector('#rows a')")
    page.click("#rows a")
    page.until("the row is marked", "document.querySelector('.decides')")
    row = page.driver.find_element(By.CSS_SELECTOR, ".decides")
    assert row.get_attribute("value") == "4" and "grades/**" in row.text, row.text
    near = page.driver.find_element(By.CSS_SELECTOR, ".near").text
    assert "line 5 allows it, but line 4 denies it" in near, near
    page.picture("record")


@check
def what_is_copied_is_the_row_that_is_shown(world, page):
    page.driver.execute_cdp_cmd("Browser.grantPermissions", {
        "origin": world.console.base.rstrip("/"),
        "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    page.open("/suggest")
    rows = page.js("return [...document.querySelectorAll('.proposal code')].map(c => c.textContent)")
    assert "bob | course/live | write | allow" in rows, rows
    for number, row in enumerate(rows):
        page.driver.find_elements(By.CSS_SELECTOR, "[data-copy]")[number].click()
        page.until("it says so", f"document.querySelectorAll('[data-copy]')[{number}].textContent === 'Copied'")
        copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        assert copied == row, (copied, row)
    # And the policy takes each of them.
    policy = world.folder / "suggested.acl"
    policy.write_text(POLICY + "".join(row + "\n" for row in rows))
    subprocess.run([BUILT / "bailiwick", "acl", "check", policy], check=True, stdout=subprocess.DEVNULL)
    page.picture("suggestions")


@check
def a_policy_with_errors_shows_them_all_live(world, page):
    page.open("/policy")
    page.until("it is good", "document.querySelector('.state.good')")
    policy = world.folder / "policy.acl"
    policy.write_text(POLICY + "alice | a | read | alow\nalice | b/../c | read | allow\n")
    page.until("both errors are there", "document.querySelectorAll('.findings code').length >= 2 && "
               "document.body.textContent.includes('policy.acl:7:20') && "
               "document.body.textContent.includes('policy.acl:8:')")
    page.picture("policy-errors")
    policy.write_text(POLICY)
    page.until("it is good again", "document.querySelector('.state.good')")


@check
def pause_holds_the_page_still(world, page):
    page.open("/")
    page.until("it is live", "document.getElementById('live').dataset.state === 'on'")
    page.click("#pause")
    before = page.objects()
    world.server.refuse("bob", "write", "course/paused")
    time.sleep(2)  # what must not happen has no event
    assert page.objects() == before
    page.click("#pause")
    page.until("it is there", "document.querySelector('#rows .c-object').textContent === 'course/paused'")


@check
def calls_and_latency_are_plotted(world, page):
    page.open("/")
    page.until("there is a line", "document.querySelector('#latency-card path.p99')?.getAttribute('d')")
    assert "0.1 ms" in page.js("return document.getElementById('latency-card').textContent") or \
        "100 µs" in page.js("return document.getElementById('latency-card').textContent")


@check
def nothing_is_wider_than_the_window(world, page):
    for width, scheme in ((1280, "light"), (400, "dark")):
        with contextlib.closing(Closing(browser(world.folder / f"profile-{width}", width, scheme))) as other:
            view = Page(other.driver, world.console)
            other.driver.get(world.console.url)
            for path, name in (("/", "overview"), ("/suggest", "suggestions"), ("/policy", "policy")):
                view.open(path)
                view.until("it is laid out", "document.readyState === 'complete'")
                wide = view.js("return document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{path} at {width}: {wide} too wide"
                view.picture(f"{name}-{width}")
            view.assert_quiet()


@check
def tampering_is_caught_live_in_red(world, page):
    page.open("/")
    page.until("the log is whole", "document.querySelector('#integrity-card .state.good')")
    log = world.folder / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"course/live", b"course/lie!", 1))
    page.until("it is red", "document.querySelector('#integrity-card .state.bad')")
    page.until("the line and the kind are told",
               "/audit.jsonl:\\d+: the record was edited/.test(document.getElementById('integrity-card').textContent)")
    red = page.js("return getComputedStyle(document.querySelector('#integrity-card .state')).color")
    assert red == "rgb(179, 38, 30)", red
    page.picture("tampered")


class Closing:
    def __init__(self, driver):
        self.driver = driver

    def close(self):
        self.driver.quit()


class World:
    def __init__(self, folder):
        self.folder = folder
        (folder / "policy.acl").write_text(POLICY)
        self.metrics = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
        threading.Thread(target=self.metrics.serve_forever, daemon=True).start()
        self.server = Server(folder)
        url = f"http://127.0.0.1:{self.metrics.server_port}/metrics"
        self.console = Console(folder, "--metrics", url)

    def close(self):
        self.console.stop()
        self.server.stop()
        self.metrics.shutdown()


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with contextlib.closing(World(folder)) as world, \
                contextlib.closing(Closing(browser(folder / "profile"))) as main_browser:
            page = Page(main_browser.driver, world.console)
            for function in CHECKS:
                claim = function.__name__.replace("_", " ")
                try:
                    function(world, page)
                    page.assert_quiet()
                    print(f"ok      {claim}", flush=True)
                except Exception as error:  # the others are to be seen too
                    failed += 1
                    print(f"FAILED  {claim}\n{type(error).__name__}: {error}", flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
