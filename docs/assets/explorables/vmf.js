// The von Mises-Fisher law on the sphere and on the circle: samples to look at and to compare with A(kappa).
//
// Letters as in the course: m coordinates, w = mu.z, y = 1 - w. Points are stored with mu as the first axis.
// Nothing moves by itself.
(() => {
  "use strict";
  const explorables = window.hvaeExplorables;
  const { element, slider, choice, symbol, facts, announcer, painter, surface, colours, random } = explorables.kit;
  const { ratio, meanResultantLength, pen, disc, arrow, meanDirection, trace, parallel, ball, grid } = explorables.kit;
  const { degrees, turned, rotate, handle } = explorables.kit;
  const TAU = 2 * Math.PI;

  // The law

  /**
   * Root mean square of |mean z| - A over sets of n samples. The square of |mean z| has mean A^2 + (1 - A^2) / n;
   * its variance is that of a Gaussian mean, with A' / n along mu and A / (kappa n) across. Then Taylor.
   */
  function spread(m, kappa, n) {
    const across = ratio(m, kappa) / n;
    const A = meanResultantLength(m, kappa);
    const along = (1 - A * A) / n - (m - 1) * across;
    const square = A * A + (1 - A * A) / n;
    const variance = 4 * A * A * along + 2 * along ** 2 + 2 * (m - 1) * across ** 2;
    const root = Math.sqrt(square);
    const bias = (1 - A * A) / n / (root + A) - variance / (8 * root ** 3);
    return Math.hypot(bias, Math.sqrt(variance / square) / 2);
  }

  /** The y that a share of the law stays below, for m = 3. */
  const cap = (share, kappa) => (kappa ? -Math.log1p(share * Math.expm1(-2 * kappa)) / kappa : 2 * share);

  // The samples

  /** One y, by rejection from Ulrich's envelope (1984) as corrected by Wood (1994), and how many proposals it took. */
  function drawY(m, kappa, uniform) {
    const b = (m - 1) / (2 * kappa + Math.hypot(2 * kappa, m - 1));
    const y0 = (2 * b) / (1 + b);
    for (let proposals = 1; ; proposals++) {
      // Symmetric Beta from two uniforms. For m = 2 the power is 0, and it is the arcsine law.
      const e = (1 + Math.sqrt(1 - uniform() ** (2 / (m - 2))) * Math.cos(TAU * uniform())) / 2;
      const y = (2 * b * e) / (1 - e + b * e);
      const log = Math.log(((y0 + y - y0 * y) * (1 + b) ** 2) / (4 * b));
      if (kappa * (y0 - y) + (m - 1) * log >= Math.log(uniform())) return [y, proposals];
    }
  }

  /** n samples as points, and how many proposals they took. */
  function draw(m, kappa, n, seed) {
    let proposals = 0;
    const z = Array.from({ length: n }, (_, i) => {
      // Each sample has its own piece of the stream: when kappa changes, points glide and few jump.
      const uniform = random(seed, i * (64 + 2 * m));
      const gaussian = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(TAU * uniform());
      const v = Array.from({ length: m - 1 }, gaussian);
      const [y, count] = drawY(m, kappa, uniform);
      const scale = Math.sqrt(y * (2 - y)) / Math.hypot(...v);
      proposals += count;
      return [1 - y, ...v.map((x) => x * scale)];
    });
    return { z, proposals };
  }

  /** The slider: 0, then 20 steps a decade to 1000, in two digits. */
  const kappaAt = (position) => (position ? Number((10 ** (position / 20 - 1)).toPrecision(2)) : 0);

  // The pictures

  const RADIUS = 0.43; // of the sphere, as a part of its canvas
  const dotRadius = (n) => 7.5 / n ** 0.21;

  /** mu, the mean of the samples, and a ring at A mu. `place` takes points to pixels, `reach` is how far mu goes. */
  function paintVectors(context, colour, state, place, reach) {
    meanDirection(context, place([reach, 0, 0]), colour);
    arrow(context, place(state.mean), 2.8, colour.samples, colour.ground);
    for (const [width, style] of [[5, colour.ground], [2.2, colour.law]]) {
      pen(context, style, width);
      disc(context, ...place(state.exact), 5, "stroke");
    }
  }

  /** The sphere from far away. */
  function paintSphere(context, size, colour, state, view) {
    const radius = RADIUS * size;
    const dot = dotRadius(state.n);
    const turn = (p) => turned(view, p);
    const place = (p) => [turn(p)[0] * radius, -turn(p)[1] * radius];
    const visible = state.z.map(turn);

    ball(context, radius, colour);
    for (const front of [false, true]) {
      grid(context, radius, colour, turn, front);
      pen(context, colour.samples, 1, front ? 0.8 : 0.16);
      for (const [x, y, depth] of visible) if (depth >= 0 === front) disc(context, x * radius, -y * radius, dot);
      pen(context, colour.law, 2, front ? 1 : 0.3);
      trace(context, radius, turn, front, parallel(1 - cap(0.95, state.kappa)));
    }
    pen(context, colour.faint);
    disc(context, 0, 0, radius, "stroke");
    paintVectors(context, colour, state, place, 1.13);
  }

  /** The circle: samples stacked outwards in narrow bins, below the density at the same scale. */
  function paintCircle(context, size, colour, state, angle) {
    const radius = 0.33 * size;
    const dot = dotRadius(state.n);
    const place = ([x, y], far = radius) => {
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      return [(c * x - s * y) * far, -(s * x + c * y) * far];
    };
    const bins = 180;
    const heights = Array(bins).fill(0);
    const bin = ([x, y]) => Math.floor((Math.atan2(y, x) / TAU + 1) * bins) % bins;
    const stacked = state.z.map((z) => [z, heights[bin(z)]++]);
    const density = (t) => Math.exp(state.kappa * (Math.cos(t) - 1));
    let sum = 0;
    for (let i = 0; i < 10 * bins; i++) sum += density((i / 10 / bins) * TAU) / 10;
    const step = Math.min(2 * dot, (0.14 * size) / Math.max(state.n / sum, ...heights));

    pen(context, colour.faint);
    disc(context, 0, 0, radius, "stroke");
    pen(context, colour.samples, 1, 0.6);
    for (const [z, height] of stacked) disc(context, ...place(z, radius + dot + 1 + height * step), dot);
    pen(context, colour.law, 2);
    context.beginPath();
    for (let i = 0; i <= 1440; i++) {
      const t = (i / 1440) * TAU;
      context.lineTo(...place([Math.cos(t), Math.sin(t)], radius + 1 + ((step * state.n) / sum) * density(t)));
    }
    context.stroke();
    paintVectors(context, colour, state, place, 1);
  }

  /** Histogram of w and its density, from -1 or where the law becomes negligible to 1. */
  function paintHistogram({ context, width, height }, colour, { m, kappa, n, z }, font) {
    const range = Math.min(2, (m + 2.5) / kappa);
    const bins = 40;
    const counts = Array(bins).fill(0);
    for (const [w] of z) if (1 - w < range) counts[Math.floor(((1 - w) / range) * bins)]++;
    // Per bin: n times the density. Its integral over the angle, where nothing is infinite, gives the constant.
    const relative = (at) => Math.exp(-kappa * at) * (at * (2 - at)) ** ((m - 3) / 2);
    const step = Math.PI / 4000;
    let integral = 0;
    for (let t = step / 2; t < Math.PI; t += step) integral += step * relative(1 - Math.cos(t)) * Math.sin(t);
    const expected = (at) => ((n * range) / bins / integral) * relative(at);
    const base = height - 20;
    const top = 1.12 * Math.max(...counts);
    const up = (count) => base * (1 - count / top);

    pen(context, colour.samples, 1, 0.45);
    counts.forEach((count, i) => {
      context.fillRect(width * (1 - (i + 1) / bins) + 0.5, up(count), width / bins - 1, base - up(count));
    });
    pen(context, colour.ink);
    context.font = `12px ${font}`;
    const digits = range < 2 ? Math.max(2, 1 - Math.floor(Math.log10(range))) : 0;
    for (const [w, x, align] of [[1 - range, 0, "left"], [1 - range / 2, width / 2, "center"], [1, width, "right"]]) {
      context.textAlign = align;
      context.fillText(w.toFixed(digits).replace("-", "−"), x, height - 4);
    }
    pen(context, colour.faint);
    context.strokeRect(0, base, width, 0);
    context.rect(0, 0, width, base);
    context.clip();
    pen(context, colour.law, 2);
    context.beginPath();
    for (let i = 1; i < 400; i++) context.lineTo(width * (1 - i / 400), up(expected((i / 400) * range)));
    context.stroke();
  }

  // The whole

  function mount(host) {
    const state = { m: 3, kappa: 5, n: 1000, seed: 1 };
    let angle = 0.6; // of mu on the circle
    let view = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]; // of the sphere

    const picture = element("canvas", { className: "picture", tabIndex: 0, role: "img" });
    const histogram = element("canvas", { className: "histogram", role: "img" });
    const again = element("button", { type: "button" }, "Draw again");
    const subscript = element("sub");
    const caption = element("p");
    const { list, cells, words } = facts(
      ["length", "Length of the samples’ mean"],
      ["exact", "Exact: ", symbol("A"), subscript, "(", symbol("κ"), ")"],
      ["expected", "Expected difference"],
      ["accepted", "Proposals accepted"]);
    const parts = [
      element("div", {}, picture, caption),
      element("div", {},
        slider({
          label: element("span", {}, "Concentration ", symbol("κ")),
          max: 80,
          position: 34,
          show: kappaAt,
          ticks: [0, 1, 10, 100, 1000],
          input: (position) => set({ kappa: kappaAt(position) }),
        }),
        choice({ legend: "On the", options: [3, 2], texts: ["sphere", "circle"], value: 3, change: (m) => set({ m }) }),
        choice({ legend: "Samples", options: [200, 1000, 5000], value: 1000, change: (n) => set({ n }) }),
        again),
      element("div", {},
        element("p", {}, symbol("w"), " = ", symbol("μ·z"), " of the samples, and its density"),
        histogram),
      list,
    ];
    host.append(element("div", { className: "parts" }, ...parts));
    again.addEventListener("click", () => set({ seed: state.seed + 1 }));
    const announce = announcer(host);
    const paint = painter(host, () => {
      const colour = colours(host, "ink", "faint", "samples", "law", "ground", "lit", "shade");
      const { context, width } = surface(picture);
      context.translate(width / 2, width / 2);
      if (state.m === 3) paintSphere(context, width, colour, state, view);
      else paintCircle(context, width, colour, state, angle);
      paintHistogram(surface(histogram), colour, state, getComputedStyle(host).fontFamily);
      const law = `${state.n} samples of the von Mises-Fisher law with kappa ${state.kappa}`;
      picture.setAttribute("aria-label", `${law} on the ${place()}. Arrow keys turn it.`);
      histogram.setAttribute("aria-label", `Histogram of w for ${law}, under the exact density.`);
    });

    /** The space and where mu points, in words. */
    function place() {
      if (state.m === 2) return `circle; mu at ${degrees(angle)}, counterclockwise from the right`;
      const [right, up, front] = view.map((row) => row[0]);
      return `sphere; mu ${degrees(Math.atan2(right, front))} to the right and ${degrees(Math.asin(up))} up`;
    }

    function set(changes) {
      const { m, kappa, n, seed } = Object.assign(state, changes);
      const { z, proposals } = draw(m, kappa, n, seed);
      const mean = z[0].map((_, axis) => z.reduce((sum, point) => sum + point[axis], 0) / n);
      const A = meanResultantLength(m, kappa);
      const deviation = spread(m, kappa, n);
      const first = !state.z;
      Object.assign(state, { z, mean, exact: [A, 0, 0] });

      const digits = Math.max(4, 1 + Math.ceil(-Math.log10(deviation)));
      cells.length.textContent = Math.hypot(...mean).toFixed(digits);
      cells.exact.textContent = A.toFixed(digits);
      cells.expected.textContent = `± ${deviation.toFixed(digits)}`;
      cells.accepted.textContent = `${((100 * n) / proposals).toFixed(1)}%`;
      subscript.textContent = m;
      const orange = m === 3 ? "the cap that holds 95% of the law, and A·μ" : "the density, and A·μ";
      caption.textContent = `Blue: samples, and their mean. Orange: ${orange}. To turn: drag, or arrow keys.`;
      if (!first) announce(words());
      paint();
    }

    handle(picture, {
      key(right, up) {
        const [x, y] = [right, up].map((step) => (step * Math.PI) / 36);
        if (state.m === 3) view = rotate(view, x, y);
        else angle += y - x;
        paint();
      },
      drag(before, now) {
        const radius = RADIUS * picture.clientWidth;
        if (state.m === 3) view = rotate(view, (now[0] - before[0]) / radius, (now[1] - before[1]) / radius);
        else angle += Math.atan2(now[1], now[0]) - Math.atan2(before[1], before[0]);
        paint();
      },
    });

    view = rotate(view, -0.85, 0.5); // mu to the right, up and towards the reader
    set({});
  }

  explorables.add("vmf", Object.assign(mount, { draw, meanResultantLength, spread }));
})();
