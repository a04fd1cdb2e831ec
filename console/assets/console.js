// Keeps the page up to date: on news it asks for itself again and puts what is new in place.
//
// Only nodes that the server made and escaped are moved over; no text is ever read as HTML here.
"use strict";

(() => {
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  let waiting = false; // a request is under way
  let missed = false; // news came meanwhile, or while paused
  let over = false; // no more news will come

  function say(state, text) {
    live.dataset.state = state;
    live.textContent = text;
  }

  function paused() {
    return pause.getAttribute("aria-pressed") === "true";
  }

  function refresh() {
    if (waiting || paused() || document.hidden) {
      missed = true;
      return;
    }
    waiting = true;
    missed = false;
    const request = new XMLHttpRequest();
    request.open("GET", location.pathname + location.search);
    // The browser makes a document in which no script runs.
    request.responseType = "document";
    request.timeout = 15000;
    request.onloadend = () => {
      waiting = false;
      if (request.status === 200 && request.response) {
        show(request.response);
        if (!over) {
          say("on", "Live");
        }
      } else if (request.status === 401) {
        say("off", "The console was started anew: open its new URL");
      } else {
        say("off", "No answer; trying again");
      }
      if (missed) {
        refresh();
      }
    };
    request.send();
  }

  function show(fresh) {
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(old.id);
      if (!now || old.isEqualNode(now)) {
        continue;
      }
      if (old.dataset.live === "rows") {
        showRows(old, now);
      } else {
        replace(old, now);
      }
    }
  }

  // New rows come in above, and old ones stay the same nodes: focus and selection are kept.
  function showRows(old, now) {
    const known = new Map([...old.children].map((row) => [row.id, row]));
    let place = old.firstElementChild;
    for (const row of [...now.children]) {
      const same = known.get(row.id);
      if (same) {
        known.delete(row.id);
        if (same === place) {
          place = place.nextElementSibling;
        } else {
          old.insertBefore(same, place);
        }
      } else {
        row.classList.add("fresh");
        old.insertBefore(document.adoptNode(row), place);
      }
    }
    for (const gone of known.values()) {
      gone.remove();
    }
  }

  function replace(old, now) {
    const links = [...old.querySelectorAll("a, button, [tabindex]")];
    const focused = links.indexOf(document.activeElement);
    for (const { name, value } of now.attributes) {
      old.setAttribute(name, value);
    }
    old.replaceChildren(...[...now.childNodes].map((node) => document.adoptNode(node)));
    if (focused >= 0) {
      const again = old.querySelectorAll("a, button, [tabindex]")[focused];
      if (again) {
        again.focus({ preventScroll: true });
      }
    }
  }

  async function copy(button) {
    const row = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(row.textContent);
      button.textContent = "Copied";
    } catch {
      // Without HTTPS a page of another machine may not: leave it to the keyboard.
      getSelection().selectAllChildren(row);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) {
      copy(button);
    }
  });

  if (document.getElementById("main").hasAttribute("data-still")) {
    say("off", "As of now");
    return;
  }
  pause.hidden = false;
  pause.addEventListener("click", () => {
    const now = !paused();
    pause.setAttribute("aria-pressed", String(now));
    pause.textContent = now ? "Go on" : "Pause";
    say(now ? "off" : "on", now ? "Paused" : "Live");
    if (!now) {
      refresh();
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && missed) {
      refresh();
    }
  });

  const source = new EventSource("/events");
  source.addEventListener("news", () => refresh());
  source.addEventListener("error", () => {
    over = source.readyState === EventSource.CLOSED;
    say("off", over ? "Not live: close other windows of the console, then reload" : "No connection; trying again");
    if (over) {
      refresh(); // which says so if it is because the token has changed
    }
  });
})();
