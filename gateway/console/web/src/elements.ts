// What elements in JSX are translated to. The build puts it into each file.

export { createElement as $element, Fragment as $Fragment } from "preact";
