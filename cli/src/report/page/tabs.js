// Tabs
const tabs = [...document.querySelectorAll("[role=tab]")];
const openTab = tab => {
    for (const other of tabs) {
        const selected = other === tab;
        other.setAttribute("aria-selected", selected);
        other.tabIndex = selected ? 0 : -1;
        $(other.getAttribute("aria-controls")).hidden = !selected;
    }
    redraw();
};
for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => openTab(tab));
    tab.addEventListener("keydown", event => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = tabs[(index + step + tabs.length) % tabs.length];
        openTab(next);
        next.focus();
    });
}
const isOpen = id => !$(id).hidden;
