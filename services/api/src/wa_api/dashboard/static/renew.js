// Changes a part of the page to what the server drew anew, touching only what differs: focus,
// selection and open tips stay. Elements with data-keep are the page's own and left alone.

export function renew(old, fresh, added = () => {}) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute("data-keep") && fresh.hasAttribute("data-keep")) return;
  if (old.isEqualNode(fresh)) return;
  renewAttributes(old, fresh);
  renewChildren(old, fresh, added);
}

function renewAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function renewChildren(old, fresh, added) {
  const wantedIds = new Set([...fresh.children].map((child) => child.id));
  const known = new Map();
  for (const child of [...old.children]) {
    if (!child.id) continue;
    if (wantedIds.has(child.id)) known.set(child.id, child);
    else child.remove(); // first: what merely closes up is not moved, for moving costs the focus
  }
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const match = matching(wanted, place, known);
    if (match === null) {
      old.insertBefore(wanted, place);
      if (wanted.nodeType === Node.ELEMENT_NODE) added(wanted);
    } else {
      // The space that a removed one leaves behind goes first, for the same reason.
      while (match !== place && place?.nodeType === Node.TEXT_NODE) place = without(place);
      if (match === place) place = place.nextSibling;
      else old.insertBefore(match, place);
      known.delete(match.id);
      renew(match, wanted, added);
    }
  }
  while (place !== null) place = without(place);
}

// Removes a node; the one after it.
function without(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// The present child that a wanted one renews: the same id, or the same kind in the same place.
function matching(wanted, place, known) {
  if (wanted.id) return known.get(wanted.id) ?? null;
  if (place === null || place.id) return null;
  return place.nodeName === wanted.nodeName ? place : null;
}
