// How long ago something was, in a word or two.

const UNITS = [
  ["year", 365 * 24 * 3_600],
  ["month", 30 * 24 * 3_600],
  ["week", 7 * 24 * 3_600],
  ["day", 24 * 3_600],
  ["hour", 3_600],
  ["minute", 60],
] as const;

const FORMAT = new Intl.RelativeTimeFormat("en", { style: "narrow" });

/** Nothing for what is not a time; a clock that was set back makes nothing lie ahead. */
export function age(then: string, now: Date): string {
  const seconds = (now.getTime() - Date.parse(then)) / 1_000;
  if (Number.isNaN(seconds)) return "";
  for (const [unit, unit_s] of UNITS) {
    if (seconds >= unit_s) return FORMAT.format(-Math.floor(seconds / unit_s), unit);
  }
  return "now";
}
