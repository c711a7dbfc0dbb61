// The theme: the system's, or the one chosen here before. Runs before the first paint, so it is no module.
(() => {
  const KEY = "snowbus-theme";
  const CHOICES = ["system", "light", "dark"];

  function stored() {
    try {
      return window.localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  function remember(theme) {
    try {
      window.localStorage.setItem(KEY, theme);
    } catch {
      // storage is switched off: the choice lives until the page is left
    }
  }

  let theme = CHOICES.includes(stored()) ? stored() : "system";
  document.documentElement.dataset.theme = theme;

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => {
      button.title = `Theme: ${theme}`;
      button.setAttribute("aria-label", button.title);
    };
    button.addEventListener("click", () => {
      theme = CHOICES[(CHOICES.indexOf(theme) + 1) % CHOICES.length];
      document.documentElement.dataset.theme = theme;
      remember(theme);
      label();
    });
    label();
  });
})();
