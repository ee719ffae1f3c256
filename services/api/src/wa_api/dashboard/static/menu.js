// One menu for all rows: it stands outside the table, so that morphing a row never closes it.

const GAP = 6;
const CANNOT = { stop: ["stopped"], logout: ["logged_out", "scan_qr"], test: ["scan_qr", "logged_out", "banned", "failed"] };
let opener = null;

export function keepMenu() {
  const menu = document.getElementById("menu");
  if (!menu) return;
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "closed") opener?.setAttribute("aria-expanded", "false");
  });
  menu.addEventListener("click", () => menu.hidePopover());
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Tab") menu.hidePopover();
    if (!step) return;
    event.preventDefault();
    const items = [...menu.querySelectorAll("button:not(:disabled)")].filter((item) => !item.hidden);
    items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
  });
  const follow = () => menu.matches(":popover-open") && place(menu, opener.getBoundingClientRect());
  addEventListener("scroll", follow, { passive: true });
  addEventListener("resize", follow, { passive: true });
}

// The row may have changed beneath the open menu, or gone.
export function refreshMenu() {
  const menu = document.getElementById("menu");
  if (!menu.matches(":popover-open")) return;
  if (opener.isConnected) show(menu, opener.closest("[data-session]").dataset);
  else menu.hidePopover();
}

export function openMenu(_, button) {
  const menu = document.getElementById("menu");
  if (opener === button && menu.matches(":popover-open")) return menu.hidePopover();
  opener = button;
  show(menu, button.closest("[data-session]").dataset);
  menu.showPopover();
  button.setAttribute("aria-expanded", "true");
  place(menu, button.getBoundingClientRect());
  menu.querySelector("button:not(:disabled):not([hidden])").focus();
}

function show(menu, { session, name, number, state }) {
  Object.assign(menu.dataset, { session, name, number, state });
  for (const item of menu.querySelectorAll("button")) {
    item.disabled = (CANNOT[item.dataset.do] ?? []).includes(state);
    item.hidden = item.dataset.do === "open" && document.body.dataset.page === "session";
  }
}

function place(menu, at) {
  const { width, height } = menu.getBoundingClientRect();
  const below = at.bottom + GAP + height <= innerHeight;
  menu.style.left = `${Math.max(GAP, Math.min(at.right - width, innerWidth - width - GAP))}px`;
  menu.style.top = `${below ? at.bottom + GAP : Math.max(GAP, at.top - GAP - height)}px`;
}
