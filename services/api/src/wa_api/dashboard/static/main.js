// Starts what the page needs.

import { keepAccess } from "./access_page.js";
import { keepActions } from "./actions.js";
import { keepCode } from "./code.js";
import { keepConnect } from "./connect.js";
import { keepOptions } from "./options.js";
import { keepSession } from "./session_page.js";
import { keepSessions } from "./sessions_page.js";
import { keepTabs } from "./tabs.js";
import { keepTestMessage } from "./test_message.js";
import { keepTimes } from "./times.js";
import { homeToasts } from "./toast.js";
import { keepTryIt } from "./try_it.js";
import { keepWebhooks } from "./webhooks.js";

const PAGES = { sessions: keepSessions, session: keepSession, away: keepLooking, access: keepAccess, reference: keepTryIt };

keepTabs();
keepCode();
keepTimes();
keepTheme();
keepDialogs();
const refresh = PAGES[document.body.dataset.page]?.();
if (refresh) {
  keepActions(refresh);
  keepConnect(refresh);
  keepTestMessage();
  keepOptions(refresh);
  keepWebhooks(refresh);
}

function keepTheme() {
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
}

function keepDialogs() {
  document.addEventListener("click", (event) => event.target.closest("[data-close]")?.closest("dialog").close());
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", () => homeToasts(dialog));
  // A tip can be dismissed without moving pointer or focus.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const tip of document.querySelectorAll(".with-tip:is(:hover, :focus-within)")) {
      tip.classList.add("is-dismissed");
      tip.addEventListener("pointerleave", () => tip.classList.remove("is-dismissed"), { once: true });
      tip.addEventListener("focusout", () => tip.classList.remove("is-dismissed"), { once: true });
    }
  });
}

function keepLooking() {
  setInterval(() => location.reload(), 3_000);
}
