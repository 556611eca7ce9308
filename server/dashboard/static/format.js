// Numbers and times for people.

const NUMBER = new Intl.NumberFormat("en");

export const count = (value) => NUMBER.format(value);

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${unit ? value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0) : value} ${units[unit]}`;
}

export const time = (iso) => (iso ? iso.replace("T", " ").replace("Z", " UTC") : null);

export const short = (hash) => hash.slice(0, 12);

export function number(value) {
  if (value == null) return "not a number";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}
