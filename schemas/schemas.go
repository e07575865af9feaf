// Package schemas holds the contracts of Ackwire as documents: a JSON Schema (2020-12) for
// everything on a wire, AsyncAPI for the socket and the Kafka topics, OpenAPI for HTTP. The
// Go types of the same contracts are in the packages below it.
//
// The tests of this package keep documents, Go types, examples and README.md in step:
// go test -run 'TestWire|TestExamples|TestReadme' -update writes all that follows from the
// Go values in wire_test.go anew.
package schemas

import "embed"

// Base is what the $id of every JSON Schema starts with; the rest is its path below
// jsonschema. Nothing needs to be fetched from there: references between the schemas are
// relative and hold on disk as well.
const Base = "https://ackwire.dev/schemas/"

// Files holds asyncapi.yaml, openapi.yaml, and the JSON Schemas
// in jsonschema/: event/<type>, order/<type>, frame/<type>, job/document, job/policy,
// http/submit, http/ack, http/list, http/stats, http/why, http/ticket, http/problem, http/ready,
// topic/request-headers, topic/status-headers and topic/dead-headers, each with the ending .json.
//
//go:embed asyncapi.yaml openapi.yaml jsonschema
var Files embed.FS
