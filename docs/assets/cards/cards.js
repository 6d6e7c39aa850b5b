// Cards: what a citation refers to, and what a letter means, beside the place where it stands.
//
// A card opens under the pointer, at the keyboard's focus and by a tap; it closes when pointer or focus leave, by Escape
// and by a tap elsewhere. Its text is the item in the list of references, or lines of the page of notation: hvaeLetters
// in letters.js, made from it, which is loaded when the first letter's card opens. The first occurrence of a letter is a
// link to that page, so that the keyboard reaches each letter once. A classic script: it also works from file://.
(() => {
  "use strict";
  const here = document.currentScript.src;
  const notation = new URL("../../notation.html", here);
  const wait = 200; // milliseconds before a card opens, and before it closes: time to move onto it
  let card, owner, timer, loading;

  function make(tag, className, ...children) {
    const node = document.createElement(tag);
    node.className = className;
    node.append(...children);
    return node;
  }

  /** The item that a citation names, or nothing. */
  function citation(link) {
    const item = document.getElementById(decodeURIComponent(link.hash.slice(1)))?.closest("li");
    return item && make("div", "", ...[...item.cloneNode(true).childNodes].filter((node) => !node.id));
  }

  function loaded() {
    loading ??= new Promise((resolve, reject) => {
      const script = Object.assign(document.createElement("script"), { onload: resolve, onerror: reject });
      script.src = new URL("letters.js", here);
      document.head.append(script);
    });
    return loading;
  }

  /** Those of the lines on a letter that hold here. */
  async function meaning(tex, lines) {
    await loaded();
    const list = make("dl", "");
    for (const { section, text, code } of lines.map((line) => hvaeLetters[tex][line])) {
      const line = make("dd", "");
      line.innerHTML = code ? `${text} <span class="code">${code}</span>` : text;
      list.append(make("dt", "", section), line);
    }
    return list;
  }

  async function open(trigger, content) {
    if (owner === trigger) return;
    close();
    owner = trigger;
    const shown = await content();
    if (owner !== trigger) return; // it was left meanwhile
    card.replaceChildren(shown);
    card.hidden = false;
    trigger.setAttribute("aria-describedby", card.id);
    const box = trigger.getBoundingClientRect();
    const { width, height } = card.getBoundingClientRect();
    const below = box.bottom + height + 12 < innerHeight || box.top < height + 12;
    const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - width - 8));
    card.style.left = `${scrollX + left}px`;
    card.style.top = `${scrollY + (below ? box.bottom + 6 : box.top - height - 6)}px`;
  }

  function close() {
    clearTimeout(timer);
    owner?.removeAttribute("aria-describedby");
    owner = undefined;
    card.hidden = true;
  }

  function later(action) {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  }

  /** Let an element open a card; `content()` makes it, or promises it. */
  function attach(trigger, content) {
    let touched = false;
    trigger.addEventListener("pointerdown", (event) => (touched = event.pointerType === "touch"));
    trigger.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "touch") later(() => open(trigger, content));
    });
    trigger.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") later(close);
    });
    trigger.addEventListener("focus", () => trigger.matches(":focus-visible") && open(trigger, content));
    trigger.addEventListener("blur", () => later(close));
    trigger.addEventListener("click", (event) => {
      if (!touched || owner === trigger) return;
      event.preventDefault(); // the first tap opens the card, a second one follows the link
      clearTimeout(timer);
      open(trigger, content);
    });
  }

  /** Make the letters of an article open their cards. */
  function letters(article) {
    const known = JSON.parse(document.getElementById("hvae-letters")?.textContent ?? "{}");
    const linked = new Set();
    for (const formula of article.querySelectorAll("[data-tex]")) {
      const { tex } = formula.dataset;
      if (formula.closest("a, summary, h1, h2, h3, h4, .explorable")) continue;
      const { name, id, lines } = known[tex];
      let trigger = formula;
      if (!linked.has(tex)) {
        trigger = make("a", "letter");
        trigger.href = `${notation}#${id}`;
        trigger.setAttribute("aria-label", `${name}, in the notation`);
        formula.before(trigger);
        trigger.append(formula);
        linked.add(tex);
      }
      attach(trigger, () => meaning(tex, lines));
    }
  }

  document$.subscribe(() => {
    const article = document.querySelector("article");
    card = make("div", "md-typeset hvae-card");
    Object.assign(card, { id: "hvae-card", hidden: true, role: "tooltip" });
    document.body.append(card);
    card.addEventListener("pointerenter", () => clearTimeout(timer));
    card.addEventListener("pointerleave", () => later(close));
    document.addEventListener("keydown", (event) => event.key === "Escape" && close());
    document.addEventListener("pointerdown", ({ target }) => {
      if (owner && !owner.contains(target) && !card.contains(target)) close();
    });
    for (const link of article.querySelectorAll('a[href^="#ref-"]')) {
      if (citation(link)) attach(link, () => citation(link));
    }
    if (location.pathname !== notation.pathname) letters(article);
  });
})();
