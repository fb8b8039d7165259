// The report. Everything that comes from the profile reaches the page as text, never as markup.
const started = performance.now();
const $ = id => document.getElementById(id);
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
