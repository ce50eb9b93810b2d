// The theme that the reader has chosen on a page of the course, where Furo stores it.

try {
  const theme = localStorage.getItem("theme");
  if (["light", "dark"].includes(theme)) document.documentElement.style.colorScheme = theme;
} catch {
  // Storage is blocked, so the system's theme is used.
}
