// Adds to each result of the search the place where the words occur. texts.js has the texts of all pages, by anchor.

"use strict";

const AROUND = 120; // characters on each side

/** Return the part of a text around the first of the words, with this word marked; its beginning if there is none. */
function excerpt(text, words) {
  const found = words.map((word) => text.toLowerCase().indexOf(word)).filter((index) => index >= 0);
  const at = found.length ? Math.min(...found) : 0;
  const end = found.length ? at + text.slice(at).search(/[^\p{L}\p{N}]|$/u) : 0;
  const summary = document.createElement("p");
  const mark = document.createElement("mark");
  mark.textContent = text.slice(at, end);
  const before = at > AROUND ? `… ${text.slice(at - AROUND, at).replace(/^\S*\s/, "")}` : text.slice(0, at);
  const more = AROUND + Math.max(0, AROUND - at);
  const after = text.length > end + more ? `${text.slice(end, end + more).replace(/\s\S*$/, "")} …` : text.slice(end);
  summary.append(before, ...(found.length ? [mark] : []), after);
  return summary;
}

/** Return the text that a result leads to. For a whole page, it is the first part that contains one of the words, if any. */
function textOf(address, words) {
  const { pathname, hash } = new URL(address);
  const page = Object.keys(TEXTS).find((name) => pathname.endsWith(`/${name}.html`));
  const parts = TEXTS[page] ?? {};
  const contains = (text) => words.some((word) => text.toLowerCase().includes(word));
  const all = Object.values(parts);
  return parts[decodeURIComponent(hash.slice(1))] ?? all.find(contains) ?? all[0];
}

const words = (new URLSearchParams(location.search).get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
new MutationObserver(() => {
  for (const item of document.querySelectorAll("#search-results li:not(.summarized)")) {
    item.classList.add("summarized");
    const text = words.length && textOf(item.querySelector("a").href, words);
    if (text) item.append(excerpt(text, words));
  }
}).observe(document.getElementById("search-results"), { childList: true, subtree: true });
