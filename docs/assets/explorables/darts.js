// The sampler of Ulrich (1984) and Wood (1994) as darts: proposals under their density, kept or thrown away.
//
// Letters as in the course: x is the height of a uniform point, w = (x0 + x) / (1 + x0 x) where the zoom takes it,
// c = 1 / (1 + x0 x). Curves and darts are drawn over angles, arccos x and arccos w: no density is infinite there.
(() => {
  "use strict";
  const explorables = window.hvaeExplorables;
  const { element, slider, choice, symbol, facts, announcer, painter, surface, colours, random } = explorables.kit;
  const { meanResultantLength, pen, disc } = explorables.kit;

  // The sampler

  /**
   * b of the zoom, by Wood's formula or as the authors have it: from kappa = 10 to 11 it passes to (m - 1) / (4 kappa).
   * The strength T is m - 1 for Wood's b.
   */
  function constants(m, kappa, authors) {
    const rho = Math.hypot(2 * kappa, m - 1);
    const share = authors ? Math.min(Math.max(kappa - 10, 0), 1) : 0;
    const exact = (m - 1) / (2 * kappa + rho);
    const b = share ? (share * (m - 1)) / (4 * kappa) + (1 - share) * exact : exact;
    return { m, b, x0: (1 - b) / (1 + b), strength: ((m - 1 + 2 * kappa + rho) * b) / (1 + b) };
  }

  const zoom = ({ x0 }, x) => (x0 + x) / (1 + x0 * x);
  const unzoom = ({ x0 }, w) => (w - x0) / (1 - x0 * w);

  /** Before it is clipped at 0. For Wood's b it is the logarithm of (c e^(1 - c))^(m - 1), never above 0. */
  function logAcceptance({ m, x0, strength }, x) {
    const c = 1 / (1 + x0 * x);
    return (m - 1) * Math.log((strength * c) / (m - 1)) - strength * (c - 1);
  }

  /** What the sampler tends to: its rate of acceptance, the mean of its w, and the share kept above the ceiling. */
  function limits(sampler) {
    const sums = { proposed: 0, kept: 0, w: 0, above: 0 };
    const nodes = 20000;
    for (let i = 0; i < nodes; i++) {
      const angle = ((i + 0.5) * Math.PI) / nodes;
      const x = Math.cos(angle);
      const proposed = Math.sin(angle) ** (sampler.m - 2);
      const log = logAcceptance(sampler, x);
      const kept = proposed * Math.min(1, Math.exp(log));
      sums.proposed += proposed;
      sums.kept += kept;
      sums.w += kept * zoom(sampler, x);
      if (log > 1e-9) sums.above += kept;
    }
    return { rate: sums.kept / sums.proposed, mean: sums.w / sums.kept, above: sums.above / sums.kept };
  }

  /** Darts first to last - 1: where each lands before the zoom and after it, and whether it is kept. */
  function darts(sampler, first, last, seed) {
    return Array.from({ length: last - first }, (_, i) => {
      const uniform = random(seed, 8 * (first + i));
      // The height of a uniform point from two uniforms. For m = 2 the power is 0, and it is the arcsine law.
      const x = Math.sqrt(1 - uniform() ** (2 / (sampler.m - 2))) * Math.cos(2 * Math.PI * uniform());
      const fate = uniform();
      const log = logAcceptance(sampler, x);
      return { x, w: zoom(sampler, x), fate, kept: Math.log(fate) < log, above: log > 1e-9 };
    });
  }

  // The sliders

  const DIMENSIONS = [2, 3, 4, 5, 6, 8, 11, 16, 21, 31, 41, 51];
  const KAPPAS = [0, 0.5, 1, 2, 3, 4, 5, 6, 8, 9, 10, 10.25, 10.5, 10.75, 11, 12, 14, 16, 20, 30, 50, 100];

  // The pictures

  /** Densities over the angle, up to one constant: of proposals x, of proposals w, of the law of w. */
  const flat = ({ m }, angle) => Math.sin(angle) ** (m - 2);
  const envelope = (sampler, angle) =>
    flat(sampler, angle) * (Math.sqrt(1 - sampler.x0 ** 2) / (1 - sampler.x0 * Math.cos(angle))) ** (sampler.m - 1);

  /** The density of the law over the angle, with the same constant as `envelope`. */
  function lawDensity(m, kappa) {
    const relative = (angle) => Math.exp(kappa * (Math.cos(angle) - 1)) * Math.sin(angle) ** (m - 2);
    const sum = (f) => {
      let total = 0;
      for (let i = 0; i < 2000; i++) total += f(((i + 0.5) * Math.PI) / 2000);
      return total;
    };
    const factor = sum((angle) => Math.sin(angle) ** (m - 2)) / sum(relative);
    return (angle) => factor * relative(angle);
  }

  /** The angles where one of the densities is above a thousandth of its peak. */
  function visible(densities) {
    let [from, to] = [Math.PI, 0];
    for (const density of densities) {
      const values = Array.from({ length: 721 }, (_, i) => density((i * Math.PI) / 720));
      const floor = Math.max(...values) / 1000;
      from = Math.min(from, (values.findIndex((value) => value > floor) * Math.PI) / 720);
      to = Math.max(to, (values.findLastIndex((value) => value > floor) * Math.PI) / 720);
    }
    return [from, to];
  }

  /** Axis of a variable over angles: mu, where it is 1, is on the right. Returns the place of an angle. */
  function axis(context, width, base, colour, font, [from, to], letter) {
    const place = (angle) => (width * (to - angle)) / (to - from);
    pen(context, colour.faint);
    context.beginPath();
    context.moveTo(0, base);
    context.lineTo(width, base);
    context.stroke();
    context.textAlign = "center";
    let free = -Infinity;
    const [low, high] = [Math.cos(to), Math.cos(from)];
    const step = [0.5, 0.25, 0.2, 0.1, 0.05, 0.02, 0.01].find((s) => (high - low) / s >= 4) ?? 0.005;
    for (let tick = Math.ceil(low / step - 1e-9); tick * step <= high + 1e-9; tick++) {
      const value = Math.min(1, Math.max(-1, tick * step));
      const text = String(Number(value.toFixed(3))).replace("-", "−");
      const x = place(Math.acos(value));
      pen(context, colour.faint);
      context.fillRect(x - 0.5, base, 1, 4);
      pen(context, colour.ink);
      context.font = `12px ${font}`;
      const half = context.measureText(text).width / 2;
      const middle = Math.min(Math.max(x, half), width - half - 26);
      if (middle - half < free || Math.abs(middle - x) > 26) continue;
      context.fillText(text, middle, base + 16);
      free = middle + half + 8;
    }
    context.font = `italic 15px Georgia, 'Liberation Serif', serif`;
    context.textAlign = "right";
    context.fillText(letter, width - 2, base + 16);
    return place;
  }

  function curve(context, place, up, [from, to], density) {
    context.beginPath();
    for (let i = 0; i <= 400; i++) {
      const angle = from + ((to - from) * i) / 400;
      context.lineTo(place(angle), up(density(angle)));
    }
  }

  /** Darts under a ceiling. `of` takes the letter of a dart, `acceptance` the unclipped one at an angle. */
  function paintBoard(canvas, colour, font, state, { letter, ceiling, acceptance, range }) {
    const { context, width, height } = surface(canvas);
    const base = height - 22;
    let peak = 0;
    for (let i = 0; i <= 400; i++) peak = Math.max(peak, ceiling(range[0] + ((range[1] - range[0]) * i) / 400));
    const up = (value) => base * (1 - value / ((state.limits.above ? 1.45 : 1.1) * peak));
    const place = axis(context, width, base, colour, font, range, letter);
    context.save();
    context.beginPath();
    context.rect(0, 0, width, base);
    context.clip();

    // What is kept, and what the target asks for above the ceiling.
    curve(context, place, up, range, (angle) => ceiling(angle) * Math.min(1, acceptance(angle)));
    context.lineTo(place(range[1]), base);
    context.lineTo(place(range[0]), base);
    pen(context, colour.samples, 1, 0.14);
    context.fill();
    pen(context, colour.law, 2);
    curve(context, place, up, range, (angle) => ceiling(angle) * acceptance(angle));
    context.stroke();
    pen(context, colour.ink, 1.5);
    curve(context, place, up, range, ceiling);
    context.stroke();

    const radius = Math.max(1.3, 6 / state.darts.length ** 0.2);
    for (const dart of state.darts) {
      const angle = Math.acos(dart[letter]);
      const [x, y] = [place(angle), up(dart.fate * ceiling(angle))];
      if (dart.kept) {
        pen(context, dart.above ? colour.law : colour.samples, 1, 0.8);
        disc(context, x, y, radius);
      } else {
        pen(context, colour.faint, 1, 0.9);
        disc(context, x, y, radius, "stroke");
      }
    }
    const last = state.darts.at(-1);
    if (last) {
      const angle = Math.acos(last[letter]);
      const [x, y] = [place(angle), up(last.fate * ceiling(angle))];
      pen(context, colour.ink, 2);
      disc(context, x, y, 7, "stroke");
    }
    context.restore();
  }

  /** Histogram of the kept w over their angle, under the law's density. */
  function paintHistogram(canvas, colour, font, state, range, law) {
    const { context, width, height } = surface(canvas);
    const base = height - 22;
    const bins = 36;
    const [from, to] = range;
    const counts = Array(bins).fill(0);
    let kept = 0;
    for (const dart of state.darts) {
      if (!dart.kept) continue;
      kept++;
      const bin = Math.floor(((Math.acos(dart.w) - from) / (to - from)) * bins);
      if (bin >= 0 && bin < bins) counts[bin]++;
    }
    let total = 0;
    for (let i = 0; i < 2000; i++) total += (law(((i + 0.5) * Math.PI) / 2000) * Math.PI) / 2000;
    const expected = (angle) => ((law(angle) / total) * (to - from) * kept) / bins;
    const middles = counts.map((_, i) => from + ((i + 0.5) * (to - from)) / bins);
    const top = 1.15 * Math.max(1, ...counts, ...middles.map(expected));
    const up = (count) => base * (1 - count / top);
    const place = axis(context, width, base, colour, font, range, "w");
    pen(context, colour.samples, 1, 0.45);
    counts.forEach((count, i) => {
      const [right, left] = [i, i + 1].map((edge) => place(from + (edge * (to - from)) / bins));
      context.fillRect(left + 0.5, up(count), right - left - 1, base - up(count));
    });
    pen(context, colour.law, 2);
    curve(context, place, up, range, expected);
    context.stroke();
  }

  // The whole

  function mount(host) {
    const state = { m: 5, kappa: 5, authors: false, thrown: 300, landed: 300, seed: 1, darts: [] };
    const before = element("canvas", { className: "board before", role: "img" });
    const after = element("canvas", { className: "board after", role: "img" });
    const histogram = element("canvas", { className: "histogram", role: "img" });
    const one = element("button", { type: "button" }, "Throw one");
    const many = element("button", { type: "button" }, "Throw 1000");
    const clear = element("button", { type: "button" }, "Clear");
    const story = element("p", { className: "story" });
    const note = (...parts) => element("p", {}, ...parts);
    const subscript = element("sub");
    const { list, cells, words } = facts(
      ["length", "Kept darts"],
      ["rate", "Rate of this sampler, exact"],
      ["above", "Kept where the ceiling is too low"],
      ["mean", "Mean of the kept ", symbol("w")],
      ["limit", "Mean of this sampler, exact"],
      ["exact", "Mean of the law: ", symbol("A"), subscript, "(", symbol("κ"), ")"]);
    host.append(element("div", { className: "parts" },
      element("div", {},
        note("Before the zoom: ", symbol("x"), ", the height of a uniform point"), before,
        note("After the zoom: ", symbol("w"), ", under the envelope"), after,
        story),
      element("div", {},
        slider({
          label: element("span", {}, "Coordinates ", symbol("m")),
          max: DIMENSIONS.length - 1,
          position: DIMENSIONS.indexOf(state.m),
          show: (position) => DIMENSIONS[position],
          ticks: [2, 8, 51],
          input: (position) => set({ m: DIMENSIONS[position] }),
        }),
        slider({
          label: element("span", {}, "Concentration ", symbol("κ")),
          max: KAPPAS.length - 1,
          position: KAPPAS.indexOf(state.kappa),
          show: (position) => KAPPAS[position],
          ticks: [0, 10, 100],
          input: (position) => set({ kappa: KAPPAS[position] }),
        }),
        choice({
          legend: element("span", {}, "Constant ", symbol("b"), " of the zoom"),
          options: ["exact", "authors"],
          texts: ["exact", "the authors’"],
          value: "exact",
          change: (option) => set({ authors: option === "authors" }),
        }),
        element("div", { className: "buttons" }, one, many, clear)),
      element("div", {}, note("The kept ", symbol("w"), ", and the law’s density"), histogram),
      list));
    const announce = announcer(host);
    const still = window.matchMedia("(prefers-reduced-motion: reduce)");

    const paint = painter(host, () => {
      const { m, kappa, authors, seed } = state;
      const sampler = constants(m, kappa, authors);
      // Darts land over half a second, or all at once.
      state.landed = still.matches ? state.thrown : Math.min(state.thrown, state.landed + Math.ceil(state.pace));
      state.darts.push(...darts(sampler, state.darts.length, state.landed, seed));
      const colour = colours(host, "ink", "faint", "samples", "law", "ground");
      const font = getComputedStyle(host).fontFamily;
      const law = lawDensity(m, kappa);
      const range = visible([(angle) => envelope(sampler, angle), law]);
      const acceptance = (x) => Math.exp(logAcceptance(sampler, x));
      paintBoard(before, colour, font, state, {
        letter: "x",
        ceiling: (angle) => flat(sampler, angle),
        acceptance: (angle) => acceptance(Math.cos(angle)),
        range: visible([(angle) => flat(sampler, angle)]),
      });
      paintBoard(after, colour, font, state, {
        letter: "w",
        ceiling: (angle) => envelope(sampler, angle),
        acceptance: (angle) => acceptance(unzoom(sampler, Math.cos(angle))),
        range,
      });
      paintHistogram(histogram, colour, font, state, range, law);
      show();
      if (state.landed < state.thrown) paint();
    });

    const ratio = (value) => (value < 100 ? value.toFixed(2) : Math.round(value).toLocaleString("en"));

    function show() {
      const { m, kappa, authors, landed } = state;
      const kept = state.darts.filter((dart) => dart.kept);
      const percent = (share) => `${(100 * share).toFixed(1)}%`;
      const { rate, mean, above } = state.limits;
      cells.length.textContent = landed ? `${kept.length} of ${landed}: ${percent(kept.length / landed)}` : "none thrown";
      cells.rate.textContent = percent(rate);
      cells.above.textContent = percent(above);
      const average = kept.reduce((sum, { w }) => sum + w, 0) / kept.length;
      cells.mean.textContent = kept.length ? average.toFixed(4).replace("-", "−") : "–";
      cells.limit.textContent = mean.toFixed(4).replace("-", "−");
      cells.exact.textContent = meanResultantLength(m, kappa).toFixed(4);
      subscript.textContent = m;
      const last = state.darts.at(-1);
      const log = last && logAcceptance(constants(m, kappa, authors), last.x);
      const said = (value) => value.toFixed(3).replace("-", "−");
      const told = last
        ? `The last dart, ringed: x = ${said(last.x)} goes to w = ${said(last.w)}. It is kept with probability ` +
          `${said(Math.exp(Math.min(0, log)))}${log > 1e-9 ? `, clipped from ${ratio(Math.exp(log))}` : ""}: ` +
          `${last.kept ? "kept" : "thrown away"}. `
        : "";
      const low = above ? "; orange darts land where it stands above the ceiling: all are kept, and too few come" : "";
      story.textContent = `${told}Thin line: the ceiling. Orange: what the sampler takes for the law${low}.`;
      const which = authors ? "the authors' b" : "the exact b";
      const law = `m ${m}, kappa ${kappa}, ${which}`;
      before.setAttribute("aria-label", `${landed} darts under the flat ceiling, before the zoom; ${law}.`);
      after.setAttribute("aria-label", `The same darts under the envelope of w; ${law}.`);
      histogram.setAttribute("aria-label", `Histogram of ${kept.length} kept w under the density of the law; ${law}.`);
    }

    /** Changes of the law move the darts that have landed; more darts land one after the other. */
    function set(changes) {
      const first = !state.limits;
      Object.assign(state, changes);
      if (!("thrown" in changes)) state.darts = [];
      state.landed = Math.min(state.landed, state.thrown);
      state.pace = (state.thrown - state.landed) / 30;
      state.limits = limits(constants(state.m, state.kappa, state.authors));
      if (!first) announce(words());
      paint();
    }

    one.addEventListener("click", () => set({ thrown: state.thrown + 1 }));
    many.addEventListener("click", () => set({ thrown: state.thrown + 1000 }));
    clear.addEventListener("click", () => set({ thrown: 0, landed: 0, darts: [], seed: state.seed + 1 }));
    set({});
  }

  explorables.add("darts", Object.assign(mount, { constants, logAcceptance, limits, darts }));
})();
