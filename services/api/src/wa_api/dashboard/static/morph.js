// Morphs a part of the page into what the server rendered, touching only what differs: focus,
// selection and open tips stay. Elements with data-keep belong to the page and are left alone.

import { Idiomorph } from "./vendor/idiomorph/idiomorph.esm.js";

export function morph(old, fresh, added = () => {}) {
  Idiomorph.morph(old, fresh, {
    morphStyle: "outerHTML",
    callbacks: {
      beforeNodeMorphed: (node, wanted) => !(isKept(node) && isKept(wanted)) && !isEdited(node),
      afterNodeAdded: (node) => {
        if (node.nodeType === Node.ELEMENT_NODE) added(node);
      },
    },
  });
}

// The field that the reader types in. Idiomorph's own option for that, ignoreActiveValue, also
// leaves the text of a focused button as it was.
function isEdited(node) {
  return node === document.activeElement && node.matches("input, select, textarea");
}

function isKept(node) {
  return node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-keep");
}
