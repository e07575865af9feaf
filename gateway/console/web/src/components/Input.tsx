// A text field that says what was written once that is done. What is being written stays, whatever is drawn meanwhile.

import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

interface Props {
  value: string;
  set(text: string): void;
  placeholder: string;
  list?: string;
  field?: RefObject<HTMLInputElement | null>;
}

export function Input({ value, set, field, list, placeholder }: Props) {
  const own = useRef<HTMLInputElement>(null);
  const ref = field ?? own;
  useLayoutEffect(() => {
    ref.current!.value = value;
  }, [value]);
  return <input {...(list && { type: "search", list })} placeholder={placeholder} ref={ref} spellcheck={false} autocomplete="off" onChange={(event) => set(event.currentTarget.value.trim())} />;
}
