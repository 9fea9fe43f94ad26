// The bar: how high it is, which section stands below it, and the focus that follows a jump.
"use strict";

(() => {
  const bar = document.querySelector(".bar");
  const buttons = [...bar.querySelectorAll("[data-go]")];
  const row = bar.querySelector(".go");
  const setHeight = () => document.documentElement.style.setProperty("--bar-height", `${bar.offsetHeight}px`);

  function markCurrent() {
    const line = bar.getBoundingClientRect().bottom + 40;
    const passed = buttons.filter((button) => byId(button.dataset.go).getBoundingClientRect().top <= line);
    // Above the bar's resting place the verdict is read, not a section.
    const current = bar.getBoundingClientRect().top <= 0 ? passed[passed.length - 1] : undefined;
    for (const button of buttons) {
      if (button === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    // scrollIntoView would scroll the page as well.
    if (current) row.scrollLeft = current.offsetLeft - row.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;
  }

  // Faded where it goes on.
  function markEnds() {
    row.classList.toggle("more-left", row.scrollLeft > 1);
    row.classList.toggle("more-right", row.scrollLeft + row.clientWidth < row.scrollWidth - 1);
  }

  let waiting = false;
  function markSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      markCurrent();
    });
  }

  for (const button of document.querySelectorAll("[data-go]")) {
    // Whoever jumps by keyboard goes on from there, not from the bar.
    button.addEventListener("click", () => byId(`${button.dataset.go}-title`).focus({ preventScroll: true }));
  }
  new ResizeObserver(setHeight).observe(bar);
  new ResizeObserver(markEnds).observe(row);
  row.addEventListener("scroll", markEnds, { passive: true });
  addEventListener("scroll", markSoon, { passive: true });
  setHeight();
  markCurrent();
})();
