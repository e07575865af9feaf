// A chart of lines over time. This file is loaded when the first one is shown, and with it uPlot, which draws it. It
// imports nothing else of the page, so that the page is not split for its sake.

import uPlot from "uplot";
import css from "uplot/dist/uPlot.min.css";

const sheet = new CSSStyleSheet();
sheet.replaceSync(css);
document.adoptedStyleSheets.push(sheet);

export interface Line {
  name: string;
  colour: string; // a custom property of CSS
  width: number;
  dash: number[]; // so that lines are told apart without their colours, too
}

export interface Options {
  lines: readonly Line[];
  height: number;
  clock(seconds: number): string;
  count(n: number): string;
  since(): number; // what is before is shaded
  point(at: number | undefined): void; // hears which point the pointer is at
}

// Distances between the lines of a scale: whole jobs.
const steps = Array.from({ length: 10 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat();

/** Draws a chart of columns (times in seconds, then each line's values) into an element. */
export function plot(div: HTMLElement, columns: uPlot.AlignedData, o: Options): { set(columns: uPlot.AlignedData): void; fit(): void; end(): void } {
  // A custom property is text, such as light-dark(…), which a canvas does not take: an element's colour is a colour.
  const probe = div.appendChild(document.createElement("i"));
  const colours = new Map(["--dim", "--line", "--code", ...o.lines.map((l) => l.colour)].map((name) => {
    probe.style.color = `var(${name})`;
    return [name, getComputedStyle(probe).color];
  }));
  probe.remove();
  const colour = (name: string) => colours.get(name)!;
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const size = () => ({ width: div.clientWidth, height: o.height });
  const chart = new uPlot({
    ...size(),
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, __, most) => [0, Math.max(4, most * 1.05)] } },
    axes: [
      { ...axis, space: 70, size: 28, values: (_, times) => times.map(o.clock) },
      { ...axis, size: 52, incrs: steps, values: (_, ns) => ns.map(o.count) },
    ],
    series: [{}, ...o.lines.map((l) => ({ label: l.name, stroke: colour(l.colour), width: l.width, dash: l.dash, points: { show: false } }))],
    hooks: {
      setCursor: [(u) => o.point(u.cursor.idx ?? undefined)],
      drawClear: [(u) => {
        const { left, top, width, height } = u.bbox;
        const to = u.valToPos(o.since(), "x", true);
        u.ctx.fillStyle = colour("--code");
        if (to > left) u.ctx.fillRect(left, top, Math.min(to - left, width), height);
      }],
    },
  }, columns, div);
  return { set: (data) => chart.setData(data), fit: () => chart.setSize(size()), end: () => chart.destroy() };
}
