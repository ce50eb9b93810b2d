// On every page: what is wider than the page can be scrolled with the keyboard, and each link to a term of the glossary
// shows its definition, on hover, on focus, and with the first tap. website.py writes the definitions into the links.

"use strict";

for (const box of document.querySelectorAll("pre, .cell_output, .table-wrapper, .text_html, math[display=block]"))
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;

const tip = document.createElement("div");
tip.id = "term-tip";
tip.role = "tooltip";
tip.hidden = true;
document.body.append(tip);
let current = null; // the link whose definition is shown
let leaving = 0;

/** Show the definition below the link, or above it if there is no room. */
function show(link) {
  clearTimeout(leaving);
  if (current === link) return;
  hide();
  current = link;
  tip.textContent = link.dataset.term;
  tip.hidden = false;
  link.setAttribute("aria-describedby", tip.id);
  const line = link.getClientRects()[0];
  const left = Math.min(line.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const below = line.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = `${scrollX + Math.max(8, left)}px`;
  tip.style.top = `${scrollY + (below ? line.bottom + 6 : line.top - 6 - tip.offsetHeight)}px`;
}

function hide() {
  clearTimeout(leaving);
  current?.removeAttribute("aria-describedby");
  current = null;
  tip.hidden = true;
}

/** Hide it soon, unless the pointer reaches the definition first. */
function leave() {
  clearTimeout(leaving);
  leaving = setTimeout(hide, 200);
}

let shownBefore = null; // what was shown when a finger touched the screen
document.addEventListener("pointerdown", () => (shownBefore = current), true);
for (const link of document.querySelectorAll("a[data-term]")) {
  link.addEventListener("pointerenter", ({ pointerType }) => pointerType === "mouse" && show(link));
  link.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && leave());
  link.addEventListener("focus", () => show(link));
  link.addEventListener("blur", leave);
  link.addEventListener("click", (event) => {
    if (event.pointerType !== "touch" || shownBefore === link) return;
    event.preventDefault(); // the second tap follows the link
    show(link);
  });
}
tip.addEventListener("pointerenter", () => clearTimeout(leaving));
tip.addEventListener("pointerleave", leave);
document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
document.addEventListener("click", ({ target }) => !target.closest("a[data-term], #term-tip") && hide());
