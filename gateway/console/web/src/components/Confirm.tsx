// Dialogs: the question before something that cannot be undone, and the help.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Cell, useCell } from "../state.js";
import type { Question } from "./basics.js";
import { places } from "./Frame.js";

const question = new Cell<Question | undefined>(undefined);
export const help = new Cell(false);

/** Asks the user, and acts if the answer is yes. */
export const confirm = (q: Question): void => question.set(q);

function Dialog({ title, children, close }: { title: string; children: ComponentChildren; close(): void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current!.showModal(); // the browser keeps the focus inside, and gives it back
  }, []);
  return (
    <dialog ref={dialog} aria-label={title} onClose={close}
      onClick={(event) => { if (event.target === dialog.current) dialog.current?.close(); }}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}

const keys = (): [string, string][] => [
  ["/", "Filter"], ["j  k", "Next, previous row"], ["Enter", "Open the row"], ["x", "Choose the row"], ["Esc", "Back"],
  ...Object.entries(places).map(([key, [, title]]): [string, string] => ["g " + key, title]), ["t", "Times: how long ago, or UTC"], ["?", "This help"],
];

export function Dialogs() {
  const asked = useCell(question);
  const helping = useCell(help);
  if (asked) {
    return (
      <Dialog key="q" title={asked.text} close={() => question.set(undefined)}>
        <p>{asked.detail}</p>
        <form method="dialog" class="row end">
          <button value="no">Keep</button>
          <button class="danger" value="yes" onClick={() => asked.act()}>{asked.yes}</button>
        </form>
      </Dialog>
    );
  }
  if (!helping) return null;
  return (
    <Dialog key="h" title="Keyboard" close={() => help.set(false)}>
      <dl class="keys">{keys().map(([key, what]) => <div key={key}><dt>{key.split(" ").filter(Boolean).map((k) => <kbd key={k}>{k}</kbd>)}</dt><dd>{what}</dd></div>)}</dl>
      <form method="dialog" class="row end"><button>Close</button></form>
    </Dialog>
  );
}
