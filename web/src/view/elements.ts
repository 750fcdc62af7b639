/** The elements of index.html, found by name and checked. */

export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} #${id}`);
  return found;
}

export function within<T extends HTMLElement>(
  parent: HTMLElement,
  selector: string,
  kind: new () => T,
): T {
  const found = parent.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`#${parent.id} has no ${kind.name} ${selector}`);
  return found;
}

/** Shows words in an element, or hides it for none. */
export function say(element: HTMLElement, words: string): void {
  element.textContent = words;
  element.hidden = words === "";
}
