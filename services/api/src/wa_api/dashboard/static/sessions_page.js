// The table of sessions: found, filtered, paged, and kept true.

import { lookAtLinking } from "./connect.js";
import { at, part } from "./http.js";
import { listen, steadily } from "./live.js";
import { refreshMenu } from "./menu.js";
import { morph } from "./morph.js";
import { showTimes } from "./times.js";

const SEARCH_MS = 150;
const LOOK_EVERY_MS = 2_000; // a minute of messages passes, a database falls silent: no event tells
const wanted = new URLSearchParams(location.search);
let searching = null;

const refresh = steadily(async () => {
  const drawn = await part(`/dashboard/sessions?${wanted}`);
  showTimes(drawn);
  morph(document.getElementById("sessions-live"), drawn, arrived);
  refreshMenu();
});

export function keepSessions() {
  listen("/dashboard/changes", ["changed"], () => {
    refresh();
    lookAtLinking();
  });
  setInterval(() => document.hidden || refresh(), LOOK_EVERY_MS);
  document.addEventListener("click", (event) => {
    const filter = event.target.closest("[data-filter]");
    const page = event.target.closest("[data-page]:not(body)");
    if (filter) {
      event.preventDefault();
      if ("clear" in filter.dataset) clearSearch();
      want({ status: filter.dataset.filter, page: "" });
    } else if (page) want({ page: page.dataset.page });
  });
  keepSearch();
  return refresh;
}

function keepSearch() {
  const search = document.getElementById("search");
  const find = () => want({ search: search.value.trim(), page: "" });
  search.addEventListener("input", () => {
    clearTimeout(searching);
    searching = setTimeout(find, SEARCH_MS);
  });
  search.form.addEventListener("submit", (event) => event.preventDefault());
  if (search.value.trim() !== (wanted.get("search") ?? "")) find(); // typed before this ran
}

function want(changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (value) wanted.set(name, value);
    else wanted.delete(name);
  }
  const address = at(wanted.size ? `/?${wanted}` : "/");
  history.replaceState(null, "", address);
  refresh();
}

function clearSearch() {
  clearTimeout(searching);
  document.getElementById("search").value = "";
  wanted.delete("search");
}

function arrived(row) {
  if (!row.matches("tr[data-session]") || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--accent-wash");
  row.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], 2000);
}
