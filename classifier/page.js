() => {
  // Enter sends and Shift+Enter starts a new line, as in a chat; Gradio's own multi-line boxes do the opposite,
  // on keypress, which therefore never reaches them.
  const typesEnter = (event) => event.key === "Enter" && event.target.closest?.("#message textarea");
  document.addEventListener("keypress", (event) => typesEnter(event) && event.stopPropagation(), true);
  document.addEventListener("keydown", (event) => {
    if (!typesEnter(event) || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    document.querySelector("#analyze").click();
  }, true);
  // Screen readers are told the route when it comes; the cards are there to be read on.
  const route = document.querySelector("#route");
  route?.setAttribute("role", "status");
  route?.setAttribute("aria-live", "polite");
  // On a phone the examples stand below the answer that they bring.
  document.querySelector("#examples")?.addEventListener("click", (event) => {
    if (event.target.closest("button") && window.innerWidth < 900)
      document.querySelector("#message").scrollIntoView();
  });
}
