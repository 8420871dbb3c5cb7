const field = document.querySelector("input");
const entries = [...document.querySelectorAll("details")];
const sections = [...document.querySelectorAll("section")];

field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const entry of entries) {
    const text = entry.textContent.toLowerCase();
    entry.hidden = !words.every((word) => text.includes(word));
  }
  for (const section of sections) {
    section.hidden = !section.querySelector("details:not([hidden])");
  }
});

const open = () => document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
addEventListener("hashchange", open);
open();
