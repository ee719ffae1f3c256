// Runs before anything is drawn: the theme that was chosen here before, if any.
{
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
}
