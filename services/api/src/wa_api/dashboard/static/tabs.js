// Tab lists anywhere on the page, also those that are drawn later: click, arrow keys, Home, End.

const KEYS = { ArrowRight: 1, ArrowLeft: -1, Home: "first", End: "last" };

export function keepTabs() {
  document.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) select(tab);
  });
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest?.('[role="tab"]');
    if (!tab || !(event.key in KEYS)) return;
    event.preventDefault();
    const all = tabsBeside(tab);
    const step = KEYS[event.key];
    const place = step === "first" ? 0 : step === "last" ? all.length - 1 : all.indexOf(tab) + step;
    const next = all.at(place % all.length);
    select(next);
    next.focus();
  });
}

export function select(tab) {
  for (const other of tabsBeside(tab)) {
    const on = other === tab;
    other.setAttribute("aria-selected", String(on));
    other.tabIndex = on ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !on;
  }
}

function tabsBeside(tab) {
  return [...tab.closest('[role="tablist"]').querySelectorAll('[role="tab"]')];
}
