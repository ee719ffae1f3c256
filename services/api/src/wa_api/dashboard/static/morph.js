// Morphs a part of the page into what the server rendered, touching only what differs: focus,
// selection and open tips stay. Elements with data-keep belong to the page and are left alone.

import { Idiomorph } from "./vendor/idiomorph/idiomorph.esm.js";

export function morph(old, fresh, added = () => {}) {
  Idiomorph.morph(old, fresh, {
    morphStyle: "outerHTML",
    ignoreActiveValue: true,
    callbacks: {
      beforeNodeMorphed: (node, wanted) => !(isKept(node) && isKept(wanted)),
      afterNodeAdded: (node) => {
        if (node.nodeType === Node.ELEMENT_NODE) added(node);
      },
    },
  });
}

function isKept(node) {
  return node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-keep");
}
