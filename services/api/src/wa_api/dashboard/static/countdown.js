// Counts down to a moment of the server's clock, whatever the reader's own clock says.

const EVERY_MS = 250;
const running = new WeakMap();

// `now` is the server's time when it named `until`; null takes the reader's clock for right.
export function countDown(place, until, now, say) {
  if (!place) return;
  const end = Date.parse(until);
  const known = running.get(place);
  if (known?.end === end) return;
  clearInterval(known?.timer);
  const ahead = now ? Date.now() - Date.parse(now) : 0;
  const tell = () => {
    if (!place.isConnected) return clearInterval(running.get(place)?.timer);
    const text = say(Math.max(0, Math.ceil((end + ahead - Date.now()) / 1000)));
    if (place.textContent !== text) place.textContent = text;
  };
  running.set(place, { end, timer: setInterval(tell, EVERY_MS) });
  tell();
}
