// Tabs
const tabs = [...document.querySelectorAll("[role=tab]")];
const viewOf = tab => tab.id.slice("tab-".length);
const openTab = tab => {
    for (const other of tabs) {
        const selected = other === tab;
        other.setAttribute("aria-selected", selected);
        other.tabIndex = selected ? 0 : -1;
        $(other.getAttribute("aria-controls")).hidden = !selected;
    }
    redraw();
};
// The address names the open view. No element has that name, so that nothing scrolls.
const chooseTab = tab => {
    history.replaceState(null, "", "#" + viewOf(tab));
    openTab(tab);
};
const tabOfAddress = () => tabs.find(tab => viewOf(tab) === location.hash.slice(1)) ?? tabs[0];
window.addEventListener("hashchange", () => openTab(tabOfAddress()));
for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => chooseTab(tab));
    tab.addEventListener("keydown", event => {
        const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[bareKey(event)];
        if (next === undefined) return;
        event.preventDefault();
        chooseTab(tabs.at(next % tabs.length));
        tabs.at(next % tabs.length).focus();
    });
}
const isOpen = id => !$("panel-" + id).hidden;
