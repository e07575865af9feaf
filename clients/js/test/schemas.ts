// Holds frames and bodies against the JSON Schemas of the repository (schemas/jsonschema).

import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const root = new URL("../../../schemas/jsonschema/", import.meta.url);
const ajv = new Ajv2020({ strict: false, allErrors: true });
(addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
ajv.addFormat("uri-reference", true);
for (const file of ["defs.json", ...["frame", "http", "job"].flatMap(under)]) {
  ajv.addSchema(JSON.parse(readFileSync(new URL(file, root), "utf8")) as object);
}

function under(folder: string): string[] {
  return readdirSync(new URL(`${folder}/`, root)).map((name) => `${folder}/${name}`);
}

/** Says what is wrong with a value, by the schema of that name, such as "frame/ack"; undefined when nothing is. */
export function fault(schema: string, value: unknown): string | undefined {
  const validate: ValidateFunction | undefined = ajv.getSchema(`https://ackwire.dev/schemas/${schema}.json`);
  if (!validate) return `there is no schema ${schema}`;
  return validate(value) ? undefined : `${JSON.stringify(value)}: ${ajv.errorsText(validate.errors)}`;
}

/** Says what is wrong with the frames that sessions have exchanged, both ways. */
export function frameFaults(sessions: readonly { sent: readonly Typed[]; received: readonly Typed[] }[]): string[] {
  const frames = sessions.flatMap((session) => [...session.sent, ...session.received]);
  return frames.map((frame) => fault(`frame/${frame.type}`, frame)).filter((text) => text !== undefined);
}

interface Typed {
  type: string;
}
