/** A control's name, unit and range as people like them. */

import type { ControlValueView, ControlView } from "./wire.js";

const NAMES: Record<string, string> = {
  focus_mode: "Focus mode",
  focus_distance_diopters: "Focus",
  exposure_duration_us: "Exposure",
  gain: "Gain",
  iso: "ISO",
  white_balance: "White balance",
  aperture: "Aperture",
};

/** The standard ones come first, in this order. */
export const ORDER = Object.keys(NAMES);

/** How a unit of the service is shown: its symbol, its name, and how many of it one of those is. */
const UNITS: Record<string, [symbol: string, word: string, factor: number]> = {
  us: ["ms", "milliseconds", 1000],
  "[diop]": ["dpt", "dioptres", 1],
};

const SLIDER_STEPS = 1000;
const LOGARITHMIC_FROM = 500; // a range so many times its least value is even in ratios

export function nameOf({ name }: ControlView): string {
  const spaced = name.replaceAll(/[_-]+/g, " ");
  return NAMES[name] ?? spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

export function unitOf({ unit }: ControlView): { symbol: string; word: string; factor: number } {
  const [symbol, word, factor] = UNITS[unit] ?? [unit, unit, 1];
  return { symbol, word, factor };
}

/** "8.2 dpt (12 cm)", "10 ms", "manual". */
export function shown(view: ControlView, value: ControlValueView): string {
  if (typeof value !== "number") return String(value);
  const { symbol, factor } = unitOf(view);
  const number = `${rounded(value / factor)} ${symbol}`.trim();
  return view.unit === "[diop]" ? `${number} (${distance(value)})` : number;
}

/** Why a number cannot be set, in the units that people see. Undefined: it can. */
export function refusal(view: ControlView, value: number): string | undefined {
  const { minimum, maximum } = view;
  const [low, high] = [minimum ?? Number.NEGATIVE_INFINITY, maximum ?? Number.POSITIVE_INFINITY];
  if (value >= low && value <= high) return undefined;
  const { symbol, factor } = unitOf(view);
  const plain = (number: number) => `${rounded(number / factor)} ${symbol}`.trim();
  const bounds = [
    ...(minimum === null ? [] : [`at least ${plain(minimum)}`]),
    ...(maximum === null ? [] : [`at most ${plain(maximum)}`]),
  ];
  return `${plain(value)} is out of range; allowed: ${bounds.join(" and ")}`;
}

function distance(diopters: number): string {
  if (diopters <= 0) return "infinity";
  const metres = 1 / diopters;
  return metres < 1 ? `${rounded(metres * 100, 2)} cm` : `${rounded(metres, 2)} m`;
}

export function rounded(value: number, digits = 5): number {
  return Number(value.toPrecision(digits));
}

/** The nearest value that the control can have. */
export function fitted({ minimum, maximum, increment, type }: ControlView, value: number): number {
  const step = increment ?? (type === "int" ? 1 : 0);
  const from = minimum ?? 0;
  const whole = step > 0 ? from + Math.round((value - from) / step) * step : value;
  return rounded(Math.min(maximum ?? whole, Math.max(minimum ?? whole, whole)), 12);
}

/** The places of a slider, from 0 to `steps`, and the values they stand for. */
export interface Scale {
  steps: number;
  toValue(place: number): number;
  toPlace(value: number): number;
}

/** Undefined: without bounds there is no slider. */
export function scaleOf(view: ControlView): Scale | undefined {
  const { minimum, maximum, increment, type } = view;
  if (minimum === null || maximum === null || maximum <= minimum) return undefined;
  if (minimum > 0 && maximum / minimum >= LOGARITHMIC_FROM) {
    const ratio = Math.log(maximum / minimum);
    return {
      steps: SLIDER_STEPS,
      // Three digits are as fine as the slider is.
      toValue: (place) =>
        fitted(view, rounded(minimum * Math.exp((place / SLIDER_STEPS) * ratio), 3)),
      toPlace: (value) => (Math.log(value / minimum) / ratio) * SLIDER_STEPS,
    };
  }
  const step = increment ?? (type === "int" ? 1 : (maximum - minimum) / SLIDER_STEPS);
  const steps = Math.min(SLIDER_STEPS, Math.max(1, Math.floor((maximum - minimum) / step)));
  const width = (maximum - minimum) / steps;
  return {
    steps,
    toValue: (place) => fitted(view, rounded(minimum + place * width, 6)),
    toPlace: (value) => (value - minimum) / width,
  };
}
