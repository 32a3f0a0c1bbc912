"use strict";
// The page's own script: the theme switch, the copy buttons, and the learning curves (drawn by uPlot).
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const HEIGHT = 220, DASHES = [[], [7, 4], [9, 3, 2, 3], [2, 3]], FEW = 20;

  // --- dark or light: as the system says, until the button says otherwise
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const showTheme = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    redraw();
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  system.addEventListener("change", () => showTheme());

  // --- copy a command; where the browser refuses, it is selected instead
  for (const copy of document.querySelectorAll("button.copy")) {
    copy.addEventListener("click", async () => {
      const code = copy.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        copy.textContent = "Selected";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 2000);
    });
  }

  // --- curves
  const block = document.getElementById("curves-data");
  const curves = block ? JSON.parse(block.textContent) : { variants: [], panels: [] };
  const logScale = document.getElementById("log-scale");
  const switches = [...document.querySelectorAll("[data-variant]")];
  const swatches = [...document.querySelectorAll(".key .swatch")];
  const plots = [...document.querySelectorAll(".plot")].map((box) => ({ box, panel: curves.panels[box.dataset.panel], chart: null }));
  const shown = (variant) => switches[variant].checked;
  const number = (value, percent, digits = 4) => (percent ? `${+(100 * value).toFixed(2)} %` : `${+value.toPrecision(digits)}`);
  const faint = (colour, alpha) => colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);

  function redraw() {
    for (const plot of plots) {
      plot.chart?.destroy();
      plot.chart = draw(plot);
    }
  }

  // Low and high ends of a band are lines of their own, without width; a logarithmic axis has no place for 0.
  function tables(panel, log) {
    const least = Math.min(...panel.curves.flatMap((curve) => curve.mean.filter((value) => value !== null)));
    return panel.curves.map((curve) => {
      const end = (sign) => curve.mean.map((value, i) => {
        if (value === null || curve.std[i] === null) return null;
        const at = value + sign * curve.std[i];
        return log && at <= 0 ? least : at;
      });
      return curve.std ? [curve.steps, curve.mean, end(-1), end(1)] : [curve.steps, curve.mean];
    });
  }

  function draw({ box, panel }) {
    if (!panel.curves.length) return null;
    const log = logScale.checked && panel.positive && !panel.percent;
    const ink = getComputedStyle(box).color, rule = faint(ink, 0.25);
    const series = [{}], bands = [], places = new Map();
    for (const curve of panel.curves) {
      const colour = getComputedStyle(swatches[curve.variant]).color, show = shown(curve.variant);
      places.set(curve.variant, series.length);
      series.push({
        label: curves.variants[curve.variant], stroke: colour, width: 2, dash: DASHES[Math.floor(curve.variant / 7) % 4], show,
        points: { show: curve.steps.length <= FEW ? true : undefined, size: 5, fill: colour },
      });
      if (curve.std) {
        bands.push({ series: [series.length + 1, series.length], fill: faint(colour, panel.curves.length < 4 ? 0.2 : 0.12) });
        for (let i = 0; i < 2; i++) series.push({ stroke: "transparent", width: 0, show, points: { show: false } });
      }
    }
    const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
    const options = {
      width: Math.max(box.clientWidth, 120), height: HEIGHT, series, bands,
      scales: { x: { time: false, range: (_, low, high) => [Math.min(low, 0), Math.max(high, 1)] }, y: log ? { distr: 3 } : {} },
      axes: [
        { ...axis, label: "step", labelSize: 18, labelGap: 0, labelFont: axis.font, size: 30, space: 60 },
        { ...axis, size: 58, values: (chart, ticks) => ticks.map((tick) => (tick === null ? "" : panel.percent ? `${+(100 * tick).toFixed(1)} %` : `${+tick.toPrecision(6)}`)) },
      ],
      legend: { show: false },
      cursor: { sync: { key: "curves" }, points: { size: 6 }, y: false },
      hooks: { setCursor: [(chart) => read(chart, box, panel, places)] },
    };
    const chart = new uPlot(options, uPlot.join(tables(panel, log)), box);
    chart.over.addEventListener("mouseleave", () => { box.nextElementSibling.replaceChildren(); });
    return chart;
  }

  // The values at the cursor, in the panel that is pointed at or has the focus.
  function read(chart, box, panel, places) {
    const reading = box.nextElementSibling, at = chart.cursor.idx;
    if (at === null || at === undefined || chart.cursor.left < 0 || !box.matches(":hover, :focus")) return reading.replaceChildren();
    const lines = [document.createElement("p")];
    lines[0].textContent = `step ${chart.data[0][at]}`;
    for (const curve of panel.curves) {
      const i = places.get(curve.variant), value = chart.data[i][at];
      if (!shown(curve.variant) || value === null || value === undefined) continue;
      const line = document.createElement("p"), dot = document.createElement("span"), who = document.createElement("bdi"), what = document.createElement("span");
      dot.className = `dot c${curve.variant % 7}`;
      who.className = "who";
      what.className = "what";
      who.textContent = curves.variants.length > 1 ? curves.variants[curve.variant] : "";
      const spread = curve.std?.[curve.steps.indexOf(chart.data[0][at])];
      what.textContent = number(value, panel.percent) + (spread === null || spread === undefined ? "" : ` ± ${number(spread, panel.percent, 2)}`);
      line.append(dot, who, what);
      lines.push(line);
    }
    reading.replaceChildren(...lines);
  }

  for (const plot of plots) {
    plot.box.addEventListener("keydown", (event) => {
      const chart = plot.chart;
      if (!chart) return;
      const last = chart.data[0].length - 1, now = chart.cursor.left >= 0 && chart.cursor.idx !== null ? chart.cursor.idx : last;
      const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
      if (event.key === "Escape") plot.box.nextElementSibling.replaceChildren();
      if (to === undefined) return;
      event.preventDefault();
      const at = Math.min(Math.max(to, 0), last);
      chart.setCursor({ left: chart.valToPos(chart.data[0][at], "x"), top: 10 });
    });
    plot.box.addEventListener("blur", () => plot.box.nextElementSibling.replaceChildren());
  }
  for (const box of [logScale, ...switches]) box?.addEventListener("change", redraw);

  const resized = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const plot = plots.find((each) => each.box === entry.target), width = Math.floor(entry.contentRect.width);
      if (plot?.chart && width > 0 && width !== plot.chart.width) plot.chart.setSize({ width, height: HEIGHT });
    }
  });
  for (const plot of plots) resized.observe(plot.box);

  // --- a link to a run opens its details
  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", openTarget);
  openTarget();

  // --- on paper: everything open, and curves in the colours of paper
  let closed = [], theme;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    closed = [...document.querySelectorAll("details:not([open], .settings)")];
    for (const each of closed) each.open = true;
    redraw();
  });
  addEventListener("afterprint", () => {
    for (const each of closed) each.open = false;
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    redraw();
  });

  showTheme();
})();
