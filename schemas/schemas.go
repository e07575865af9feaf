// Package schemas holds the contracts of Ackwire as documents: a JSON Schema (2020-12) for every message, AsyncAPI for
// the WebSocket and the Kafka topics, and OpenAPI for HTTP. The Go types of the same contracts are in its sub-packages.
//
// The tests of this package keep documents, Go types, examples and README.md in agreement:
// go test -run 'TestWire|TestExamples|TestReadme' -update rewrites everything that is generated from the Go values in
// wire_test.go.
package schemas

import "embed"

// Base is the prefix of the $id of every JSON Schema; the rest is its path below jsonschema. Nothing has to be fetched
// from there: references between the schemas are relative, and work on disk too.
const Base = "https://ackwire.dev/schemas/"

// Files holds asyncapi.yaml, openapi.yaml, and the JSON Schemas in jsonschema/: event/<type>, order/<type>,
// frame/<type>, job/document, job/policy, http/submit, http/ack, http/grantRequest, http/grant, http/list, http/stats,
// http/why, http/history, http/ticket, http/problem, http/ready, topic/request-headers, topic/status-headers,
// topic/stream-headers and topic/dead-headers, each with the ending .json.
//
//go:embed asyncapi.yaml openapi.yaml jsonschema
var Files embed.FS
