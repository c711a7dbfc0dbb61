// The keyboard: which key does what, wherever the focus is.

const EDITABLE = "input, textarea, select, [contenteditable]";
const OWN_ENTER = "button, a, summary, [role=tab]";
const SCROLLED_BY_ARROWS = ".details";

/** Listens to the whole page. `actions` are functions by key, as KeyboardEvent names it. */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open], :popover-open")) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.matches(EDITABLE)) return;
    if (event.key === "Enter" && target.matches(OWN_ENTER)) return;
    if (event.key.startsWith("Arrow") && target.closest(SCROLLED_BY_ARROWS)) return;
    const action = Object.hasOwn(actions, event.key) ? actions[event.key] : undefined;
    if (!action) return;
    event.preventDefault();
    action();
  });
}
