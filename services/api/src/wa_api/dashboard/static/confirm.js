// Asks before something that cannot be taken back, and says what is lost.

export function confirm({ title, text, losses = [], action }) {
  const dialog = document.getElementById("confirm-dialog");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  document.getElementById("confirm-losses").replaceChildren(
    ...losses.map((loss) => {
      const item = document.createElement("li");
      item.textContent = loss;
      return item;
    }),
  );
  const go = document.getElementById("confirm-go");
  go.textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((decided) => {
    go.onclick = () => dialog.close("go");
    dialog.onclose = () => decided(dialog.returnValue === "go");
  });
}
