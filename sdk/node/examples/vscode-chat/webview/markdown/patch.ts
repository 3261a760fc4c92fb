// Makes the page show a tree, changing as little as it can: what is the same keeps its nodes, and a text that grew is
// appended to, so that a selection in it survives.

import type { Element as Tree, Node as TreeNode } from "./tree";

/** What an element shows; a tree that is the same object needs no look. */
const shown = new WeakMap<Element, Tree>();

export function patch(parent: Element, nodes: readonly TreeNode[]): void {
  nodes.forEach((node, index) => {
    const old = parent.childNodes[index];
    if (!old) parent.append(create(node));
    else if (!update(old, node)) old.replaceWith(create(node));
  });
  while (parent.childNodes.length > nodes.length) parent.lastChild?.remove();
}

/** False if the node is of another kind. */
function update(old: ChildNode, node: TreeNode): boolean {
  if (typeof node === "string") {
    if (!(old instanceof Text)) return false;
    if (old.data === node) return true;
    if (node.startsWith(old.data)) old.appendData(node.slice(old.data.length));
    else old.data = node;
    return true;
  }
  if (!(old instanceof Element) || old.localName !== node.tag) return false;
  const before = shown.get(old);
  if (before === node) return true;
  for (const name of Object.keys(before?.attributes ?? {})) {
    if (node.attributes?.[name] === undefined) old.removeAttribute(name);
  }
  for (const [name, value] of Object.entries(node.attributes ?? {})) {
    if (before?.attributes?.[name] !== value) old.setAttribute(name, value);
  }
  patch(old, node.children);
  shown.set(old, node);
  return true;
}

function create(node: TreeNode): ChildNode {
  if (typeof node === "string") return document.createTextNode(node);
  const element = document.createElement(node.tag);
  for (const [name, value] of Object.entries(node.attributes ?? {})) element.setAttribute(name, value);
  element.append(...node.children.map(create));
  shown.set(element, node);
  return element;
}
