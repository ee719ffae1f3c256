// Times in the reader's own time zone and manner, and how long ago they are.

const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
const EVERY_MS = 1_000;

export function relative(moment, now = Date.now()) {
  let amount = (moment - now) / 1000;
  if (Math.abs(amount) < 10) return "just now";
  for (const [unit, length] of STEPS) {
    if (Math.abs(amount) < length) return ago.format(Math.round(amount), unit);
    amount /= length;
  }
  return "";
}

export function showTimes(root) {
  showSpans(root);
  for (const element of root.querySelectorAll("time[data-when]")) {
    const moment = new Date(element.dateTime);
    const lines = [["relative", relative(moment)], ["absolute", absolute.format(moment)]];
    element.replaceChildren(
      ...lines.map(([name, text]) => {
        const line = document.createElement("span");
        line.className = name;
        line.textContent = text;
        return line;
      }),
    );
  }
}

// How long something has lasted, or lasts yet.
function showSpans(root) {
  for (const element of root.querySelectorAll("time[data-since]")) element.textContent = lasting(new Date(element.dateTime));
  for (const element of root.querySelectorAll("time[data-until]")) element.textContent = coming(new Date(element.dateTime));
}

function coming(moment) {
  return moment - Date.now() < 10_000 ? "in a moment" : relative(moment);
}

// "for 40 s", in the unit that says most.
function lasting(moment) {
  const seconds = Math.max(0, Math.round((Date.now() - moment) / 1000));
  if (seconds < 120) return `for ${seconds} s`;
  if (seconds < 7200) return `for ${Math.round(seconds / 60)} min`;
  return `for ${Math.round(seconds / 3600)} h`;
}

export function keepTimes() {
  showTimes(document);
  setInterval(() => {
    showSpans(document);
    for (const line of document.querySelectorAll("time[data-when] > .relative")) {
      const text = relative(new Date(line.parentElement.dateTime));
      if (line.textContent !== text) line.textContent = text;
    }
  }, EVERY_MS);
}
