// Code generated from schemas/code/codes.json and schemas/frame by schemas/code/internal/gen; DO NOT EDIT.

// Each error code behind its HTTP status; a plus sign means that the same again may go better.
const errors =
  "400=invalid_frame,400=unknown_frame,422=validation_failed,422=unknown_job_type," +
  "413=payload_too_large,431=headers_too_large,401=unauthenticated,403=forbidden,404=not_found," +
  "405=method_not_allowed,415=unsupported_media_type,426=upgrade_required,409=invalid_state," +
  "409=count_differs,422=idempotency_key_reused,400=invalid_offset,410=stream_reset,410=stream_gone," +
  "410=payload_gone,429+rate_limited,429=limit_exceeded,503+overloaded,503+unavailable," +
  "503+indeterminate,500+internal,";

/** Whether the same again may go better; a code that is not known counts like internal. */
export const retryableCode = (code: string): boolean => !errors.includes("=" + code + ",");

/** The code for an HTTP status that came without one: a proxy's own answer. */
export const codeOfStatus = (status: number): string =>
  status > 501 && status < 505 ? "unavailable" :
  errors.match("\\b" + status + ".(\\w+)")?.[1] ?? (status > 399 && status < 500 ? "invalid_frame" : "internal");
