// What the page does beside htmx: it keeps ages of times true, copies lines, draws charts, and says whether it is live.
// Everything works without it, by loading the page again.
(() => {
  "use strict";

  // As distance() in paper.py.
  function distance(seconds) {
    const size = Math.abs(seconds);
    if (size < 1) return "just now";
    const [unit, word] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([unit]) => size >= unit);
    const number = Math.floor(size / unit);
    return seconds < 0 ? `${number} ${word} ago` : `in ${number} ${word}`;
  }

  function tellTimes() {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const words = distance((Date.parse(time.dateTime) - Date.now()) / 1000);
      if (time.textContent !== words) time.textContent = words;
    }
  }

  function sayLive(is, words) {
    const mark = document.getElementById("live");
    if (!mark) return;
    mark.dataset.live = is;
    mark.querySelector(".word").textContent = words;
  }

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  function color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  const charts = new Map();
  const short = new Intl.NumberFormat("en", { notation: "compact" });
  const steps = [...Array(12).keys()].flatMap((power) => [1, 2, 5].map((factor) => factor * 10 ** power));
  const day = new Intl.DateTimeFormat("en", { month: "short", day: "numeric" });
  const time = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const second = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

  function clock(at, step) {
    return (step >= 86400 ? day : time).format(at * 1000);
  }

  // Where the chart is longer than a day, its date is told too.
  function moment(at, all) {
    const date = all[all.length - 1] - all[0] > 86400 ? `${day.format(at * 1000)}, ` : "";
    return date + second.format(at * 1000);
  }

  // Where nothing happened there is no line: one of failures along the foot would alarm.
  function quiet(values) {
    return values.map((value, place) => (value || values[place - 1] || values[place + 1] ? value : null));
  }

  function eraseCharts() {
    for (const { chart } of charts.values()) chart.destroy();
    charts.clear();
  }

  // A chart outlives its box, which is painted again, so that neither it nor the pointer on it flickers.
  function drawCharts() {
    if (!window.uPlot) return;
    for (const box of document.querySelectorAll("[data-chart]")) {
      const told = JSON.parse(box.dataset.chart);
      const data = [told.at, ...told.series.map((one) => quiet(one.values))];
      const names = JSON.stringify(told.series.map((one) => one.label));
      const known = charts.get(box.id);
      if (known && known.names === names) {
        known.told = told;
        if (!box.contains(known.chart.root)) box.append(known.chart.root);
        known.chart.setData(data);
        continue;
      }
      if (known) known.chart.destroy();
      const drawn = { told, names };
      // Beside a pointer, what it is on; else the newest.
      const at = (place) => (place === null || place === undefined ? drawn.told.at.length - 1 : place);
      const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px Atkinson" };
      const stepped = uPlot.paths.stepped({ align: 1 });
      const series = told.series.map((one) => ({
        label: one.label, stroke: color(one.color), width: 2, dash: one.dash.length ? one.dash : undefined,
        paths: stepped, points: { show: false },
        value: (_, __, series, place) => drawn.told.series[series - 1].values[at(place)].toLocaleString("en"),
      }));
      const options = {
        width: box.clientWidth, height: 170, padding: [8, 20, 0, 0], cursor: { y: false },
        scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.08)] } },
        legend: { markers: { dash: (_, place) => (place && told.series[place - 1].dash.length ? "dashed" : "solid") } },
        axes: [
          { ...axis, size: 26, values: (_, places, __, ___, step) => places.map((at) => clock(at, step)) },
          { ...axis, size: 46, space: 28, incrs: steps, values: (_, places) => places.map((value) => short.format(value)) },
        ],
        series: [{ label: "from", value: (_, __, ___, place) => moment(drawn.told.at[at(place)], drawn.told.at) }, ...series],
      };
      drawn.chart = new uPlot(options, data, box);
      charts.set(box.id, drawn);
    }
  }

  // What is painted again stays open, scrolled and focused as it was.
  const kept = new Map();

  function keep(part) {
    const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
    const wide = [...part.querySelectorAll(".wide")];
    kept.set(part, { open, places: wide.map((one) => [one.scrollLeft, one.scrollTop]), focus: wide.indexOf(document.activeElement) });
  }

  function restore(part) {
    const { open, places, focus } = kept.get(part) || { open: [], places: [], focus: -1 };
    kept.delete(part);
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    part.querySelectorAll(".wide").forEach((one, place) => {
      [one.scrollLeft, one.scrollTop] = places[place] || [0, 0];
      if (place === focus) one.focus({ preventScroll: true });
    });
    tellTimes();
    drawCharts();
  }

  // A part in which somebody selects text is not taken away under their hands; the newest state comes afterwards.
  const late = new Map();

  function isSelecting(part) {
    const selection = getSelection();
    return !selection.isCollapsed && part.contains(selection.anchorNode);
  }

  function catchUp() {
    for (const [part, html] of late) {
      if (!isSelecting(part)) {
        late.delete(part);
        keep(part);
        htmx.swap(part, html, { swapStyle: "innerHTML" });
        restore(part);
      }
    }
  }

  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (isSelecting(event.target)) {
      event.preventDefault();
      late.set(event.target, event.detail.data);
      return;
    }
    late.delete(event.target);
    keep(event.target);
  });
  document.addEventListener("htmx:sseMessage", (event) => restore(event.target));
  document.addEventListener("selectionchange", catchUp);
  document.addEventListener("htmx:sseOpen", () => sayLive("on", "live"));
  document.addEventListener("htmx:sseError", () => sayLive("lost", "not live; connecting"));

  // A browser has few connections to one server: a hidden tab gives its own back, and is loaded again when it is shown.
  let hidden = 0;
  document.addEventListener("visibilitychange", () => {
    const source = document.querySelector("[sse-connect]");
    if (!source) return;
    if (document.hidden) {
      hidden = setTimeout(() => { htmx.trigger(source, "htmx:beforeCleanupElement"); hidden = -1; }, 20000);
    } else if (hidden === -1) {
      location.reload();
    } else {
      clearTimeout(hidden);
    }
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    const field = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (field && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
    }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { eraseCharts(); drawCharts(); });

  let sized = 0;
  addEventListener("resize", () => {
    clearTimeout(sized);
    sized = setTimeout(() => {
      for (const { chart } of charts.values()) chart.setSize({ width: chart.root.parentElement.clientWidth, height: 170 });
    }, 100);
  });

  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  tellTimes();
  setInterval(tellTimes, 1000);
  document.fonts.ready.then(drawCharts);
})();
