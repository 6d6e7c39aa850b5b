// What scrolls sideways can be reached by the keyboard: wide formulas, tables, figures and outputs. And the search, which
// the theme makes a dialog, gets a name.
(() => {
  "use strict";
  const wide = ".md-typeset__scrollwrap, div.arithmatex, .output pre, .drawing";

  function update() {
    for (const region of document.querySelectorAll(wide)) {
      if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
      else region.removeAttribute("tabindex");
    }
  }

  document$.subscribe(() => {
    document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
    requestAnimationFrame(update); // when the theme has wrapped the tables
    addEventListener("resize", update, { passive: true });
  });
})();
