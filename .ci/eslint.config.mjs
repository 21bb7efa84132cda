// How the page's JavaScript is linted: npx --yes eslint@9 --config .ci/eslint.config.mjs npunet/audit/web

const browser = [
  "MessageChannel", "addEventListener", "atob", "devicePixelRatio", "document", "getComputedStyle", "history", "innerWidth",
  "location", "matchMedia", "performance", "requestAnimationFrame", "window",
];

export default [{
  files: ["**/*.js"],
  languageOptions: {
    ecmaVersion: 2023,
    sourceType: "module",
    globals: Object.fromEntries(browser.map((name) => [name, "readonly"])),
  },
  linterOptions: { reportUnusedDisableDirectives: "error" },
  rules: {
    "no-undef": "error",
    "no-unused-vars": ["error", { args: "after-used", ignoreRestSiblings: true }],
    "no-var": "error",
    "prefer-const": "error",
    eqeqeq: "error",
    "no-shadow": "error",
    "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
    "no-implicit-globals": "error",
    "no-self-compare": "error",
    "no-eval": "error",
    "no-restricted-properties": ["error",
      { property: "innerHTML", message: "set text: names from models must not become markup" },
      { property: "outerHTML", message: "set text" },
      { property: "insertAdjacentHTML", message: "set text" }],
    "consistent-return": "error",
    "max-len": ["error", { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true }],
  },
}];
