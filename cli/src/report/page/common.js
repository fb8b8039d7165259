// The report. Everything that comes from the profile reaches the page as text, never as markup.
const started = performance.now();
const $ = id => document.getElementById(id);
// A report that cannot be drawn says so.
for (const kind of ["error", "unhandledrejection"]) window.addEventListener(kind, event => {
    if (!document.body.dataset.ready) $("command").textContent = "This report cannot be drawn: " + (event.error ?? event.reason ?? event).message;
});
const make = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (name === "text") element.textContent = value;
        else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
};
const SVG = "http://www.w3.org/2000/svg";
const draw = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
};
const format = new Intl.NumberFormat("en-US");
const number = value => format.format(Math.round(value));
const share = (part, whole) => whole > 0 ? (100 * part / whole).toFixed(1) + "%" : "–";
// Beside an exact number that stands alone, a short one.
const inBytes = value => {
    const units = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"];
    let at = 0;
    while (value >= 999.95 && at < units.length - 1) { value /= 1000; at++; }
    return at ? value.toFixed(1) + " " + units[at] : number(value) + " bytes";
};
const SECONDS = { __proto__: null, s: 1, ms: 1e-3, µs: 1e-6, us: 1e-6, ns: 1e-9 };
const inTime = (value, unit) => {
    if (!SECONDS[unit]) return number(value) + " " + unit;
    const seconds = value * SECONDS[unit];
    const name = ["s", "ms", "µs"].find(name => seconds >= SECONDS[name] * 0.9995) ?? "ns";
    return Number((seconds / SECONDS[name]).toPrecision(3)) + " " + name;
};
// What is pressed together with these is for the browser.
const bareKey = event => event.altKey || event.ctrlKey || event.metaKey ? "" : event.key;
const amount = (value, unit) => number(value) + " " + unit
    + (unit === "bytes" && value >= 10000 ? " (" + inBytes(value) + ")" : SECONDS[unit] && value >= 10000 ? " (" + inTime(value, unit) + ")" : "");
const plural = (count, name) => number(count) + " " + name + (count === 1 ? "" : "s");
