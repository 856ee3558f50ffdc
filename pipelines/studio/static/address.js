// Addresses of views: everything that is shown can be sent to somebody, and the back button works.
export const address = (view, given) => {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) if (value !== "" && value !== undefined) said.set(name, value);
  return `#/${view}${String(said) ? `?${said}` : ""}`;
};
