// Long tables: so many rows as a reader goes through, all of them for whoever asks or filters.
"use strict";

(() => {
  const tables = [...document.querySelectorAll(".scroll.short")];
  if (!tables.length) return;
  const asked = new Set();
  const show = () => {
    const filtering = byId("filter").value.trim() !== "";
    for (const table of tables) table.classList.toggle("short", !filtering && !asked.has(table));
  };
  for (const table of tables) {
    const button = table.nextElementSibling.querySelector(".unfold");
    button.addEventListener("click", () => {
      asked.add(table);
      button.parentElement.hidden = true;
      table.focus();
      show();
    });
  }
  byId("filter").addEventListener("input", show);
})();
